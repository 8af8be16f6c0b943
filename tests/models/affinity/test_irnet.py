import affinity_reference as slow
import pytest
import torch
import torch.nn.functional as F
from affinity_toy import cam_samples, label_samples, loss_and_gradients, toy_irnet, two_objects

from mmwsss.models.affinity.pixel_pairs import edge_affinity, half_disc_offsets
from mmwsss.structures.maps import rescale_images


def images(num=2, size=(18, 21), seed=0):
    return slow.random(num, 3, *size, seed=seed).float()


def cams(*shape, seed=3):
    return slow.random(*shape, seed=seed).sigmoid().float()


@pytest.mark.parametrize('border', ['all', 'crop'])
def test_losses_and_gradients_equal_loops(border):
    model, inputs = toy_irnet(border=border), images(size=(30, 26))
    labels = slow.random_labels(2, 8, 7)
    losses, gradients = loss_and_gradients(model, inputs, labels)
    assert set(losses) == {'loss_affinity_bg', 'loss_affinity_fg', 'loss_affinity_neg', 'loss_displacement_fg',
                           'loss_displacement_bg'}
    logits, displacement = model.double()(inputs.double())
    offsets = half_disc_offsets(4)
    expected = (slow.affinity_loss(slow.edge_affinity(logits.sigmoid()), labels, offsets, border)
                + slow.displacement_loss(displacement, labels, offsets, border))
    torch.testing.assert_close(sum(losses.values()).double(), expected, rtol=1e-5, atol=0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    theirs = torch.autograd.grad(expected, parameters)
    assert len(theirs) == len(gradients)
    for (name, one), other in zip(gradients.items(), theirs):
        assert (one.double() - other).abs().max() <= 1e-4 * other.abs().max() + 1e-6, name


def test_backbone_is_frozen():
    model, inputs = toy_irnet().train(), images(4, (32, 32))
    assert model.edge_head.training and not any(module.training for module in model.backbone.modules())
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    labels = slow.random_labels(4, 32, 32)
    sum(model.loss(inputs, label_samples(labels)).values()).backward()
    optimizer.step()
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())
    heads = [*model.edge_head.parameters(), *model.displacement_head.parameters()]
    assert all((parameter.grad != 0).any() for parameter in heads)


def test_label_maps_of_the_image_count_in_the_middle_of_cells():
    model, inputs = toy_irnet(), images(size=(18, 20))
    fine = slow.random_labels(2, 18, 20)
    expected = loss_and_gradients(model, inputs, fine[:, [2, 6, 10, 14, 17]][:, :, 2::4])
    for one, other in zip(loss_and_gradients(model, inputs, fine), expected):
        assert all(torch.equal(one[name], other[name]) for name in one)


@torch.no_grad()
def test_edges_are_those_of_image_and_mirror_image_padded_and_cropped():
    for pad_size, (height, width) in ((None, (18, 21)), (32, (32, 32)), (20, (20, 21))):
        model, inputs = toy_irnet(test_cfg=dict(pad_size=pad_size)), images()
        logits = []
        for view in (inputs, inputs.flip(-1)):
            padded = torch.zeros(2, 3, height, width)
            padded[..., :18, :21] = view
            logits.append(model(padded)[0][..., :5, :6])
        expected = (logits[0] / 2 + logits[1].flip(-1) / 2).sigmoid()
        edge = model.edge_map(inputs)
        assert edge.shape == (2, 1, 5, 6)
        torch.testing.assert_close(edge, expected)
    assert not torch.allclose(toy_irnet().edge_map(inputs), edge, atol=1e-3)  # padding changes the normalisation


@torch.no_grad()
def test_edges_of_several_scales():
    model, inputs = toy_irnet(test_cfg=dict(scales=(0.5, 1.0))), images()
    logits = []
    for scale in (0.5, 1.0):
        view = rescale_images(inputs, scale)
        for flip in (False, True):
            logit = model(view.flip(-1) if flip else view)[0]
            logit = logit.flip(-1) if flip else logit
            logits.append(F.interpolate(logit, (5, 6), mode='bilinear', align_corners=False))
    torch.testing.assert_close(model.edge_map(inputs), (sum(logits) / 4).sigmoid())


@torch.no_grad()
def test_prediction_equals_the_dense_walk():
    walk = dict(type='RandomWalk', beta=30, steps=4, radius=3)
    model, inputs, size = toy_irnet(random_walk=walk, test_cfg=dict(background=0.4)), images(), (18, 21)
    classes, cam = [[4, 1], [0, 7]], two_objects(2, 5, 6)
    samples = model.predict(inputs, cam_samples(cam, classes, size, class_filter='score'))
    edge = model.edge_map(inputs)
    affinity = edge_affinity(edge, half_disc_offsets(3))
    for n, sample in enumerate(samples):
        walked = slow.dense_walk(affinity[n], cam[n] * (1 - edge[n]), half_disc_offsets(3), 30, 4)
        scores = F.interpolate(walked[None], (20, 24), mode='bilinear', align_corners=False)[0, :, :18, :21]
        scores = scores / scores.max()
        names = torch.tensor([0, *[c + 1 for c in classes[n]]])
        label = names[torch.cat([torch.full((1, *size), 0.4), scores]).argmax(dim=0)]
        assert (sample.pred_sem_seg.data[0] == label).float().mean() > 0.99 and len(label.unique()) == 3
        walked = F.interpolate(scores[None], (5, 6), mode='bilinear', align_corners=False)[0]
        walked = walked / walked.max()
        torch.testing.assert_close(sample.pred_cam.data, walked.half(), rtol=0, atol=2**-10)
        assert sample.pred_img_label.label.tolist() == classes[n] and sample.class_filter == 'score'


@pytest.mark.parametrize('test_cfg', [dict(background=1.0), dict(background=-0.1), dict(scales=())])
def test_wrong_options(test_cfg):
    with pytest.raises(ValueError, match='IRNet test_cfg: background is in'):
        toy_irnet(test_cfg=test_cfg)


@torch.no_grad()
def test_any_size():
    model = toy_irnet()
    for size in ((1, 1), (3, 9), (17, 5)):
        grid = [-(-side // 4) for side in size]
        sample, = model.predict(images(1, size), cam_samples(cams(1, 2, *grid), [[0, 1]], size))
        assert sample.pred_sem_seg.data.shape == (1, *size) and sample.pred_cam.data.isfinite().all()
        assert model.encode_decode(images(1, size)).shape == (1, 1, *size)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_mixed_precision_and_layout(dtype):
    def samples():
        return cam_samples(cams(2, 1, 5, 6), [[0], [2]], (18, 21))

    model, inputs = toy_irnet(), images()
    expected = [sample.pred_cam.data for sample in model.predict(inputs, samples())]
    model, inputs = model.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
    with torch.autocast('cpu', dtype=dtype):
        found = model.predict(inputs, samples())
    for sample, cam in zip(found, expected):
        torch.testing.assert_close(sample.pred_cam.data, cam, rtol=0, atol=0.05)


def test_mean_displacement_of_all_batches():
    model = toy_irnet().train()
    model.displacement_head.mean_displacement.fill_(9.0)
    batches = [images(3, (16, 20)), images(1, (32, 24), seed=1)]
    model.update_mean_displacement(iter(batches))
    assert model.training and model.displacement_head.training and not model.backbone.training
    with torch.no_grad():
        raw = [model.displacement_head.forward_raw(model.backbone(batch)) for batch in batches]
        expected = sum(maps.sum(dim=(0, 2, 3)) for maps in raw) / sum(maps[:, 0].numel() for maps in raw)
        torch.testing.assert_close(model.displacement_head.mean_displacement, expected)
        off = torch.cat([maps.flatten(2).permute(1, 0, 2).flatten(1) for maps in
                         (model.eval()(batch)[1] for batch in batches)], dim=1)
    torch.testing.assert_close(off.mean(dim=1), torch.zeros(2), rtol=0, atol=1e-5)


def test_training_finds_edges_that_nobody_labels():
    inputs, labels = 0.1 * images(4, (40, 40)), torch.full((4, 40, 40), 255)
    labels[:, :, :16], labels[:, :, 24:] = 0, 1
    inputs[:, 1, :, 16:24] += 1  # the boundary can be seen
    model = toy_irnet().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    history = []
    for _ in range(25):
        losses = model.loss(inputs, label_samples(labels))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    assert all(history[-1][name] < history[0][name] for name in history[0] if 'affinity' in name)
    edge = model.eval().edge_map(inputs)
    columns = torch.arange(10)
    inside = (columns == 4) | (columns == 5)
    assert edge[..., inside].amax(dim=-1).min() > 0.8 and edge[..., ~inside].max() < 0.2
