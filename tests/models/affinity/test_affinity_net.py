import affinity_reference as slow
import pytest
import torch
import torch.nn.functional as F
from affinity_toy import cam_samples, label_samples, loss_and_gradients, toy_affinity_net, two_objects

from mmwsss.models.affinity.pixel_pairs import half_disc_offsets


def images(num=2, size=(26, 30), seed=0):
    return slow.random(num, 3, *size, seed=seed).float()


def cams(*shape, seed=3):
    return slow.random(*shape, seed=seed).sigmoid().float()


def double_embedding(model, inputs):
    """The embedding in float64."""
    model = model.double()
    embedding = model.affinity_head.embed  # float32 in the forward of the head
    maps = [F.elu(conv(feat)) for conv, feat in zip(model.affinity_head.reduce, model.backbone(inputs.double()))]
    maps[1] = F.interpolate(maps[1], maps[0].shape[2:], mode='bilinear', align_corners=False)
    return F.elu(embedding(torch.cat(maps, dim=1)))


@pytest.mark.parametrize('border', ['all', 'crop'])
def test_losses_and_gradients_equal_loops(border):
    model, inputs = toy_affinity_net(border=border), images()
    labels = slow.random_labels(2, 7, 8)
    losses, gradients = loss_and_gradients(model, inputs, labels)
    assert set(losses) == {'loss_affinity_bg', 'loss_affinity_fg', 'loss_affinity_neg'}
    embedding = double_embedding(model, inputs)
    expected = slow.affinity_loss(slow.feature_affinity(embedding), labels, half_disc_offsets(3), border)
    torch.testing.assert_close(sum(losses.values()).double(), expected, rtol=1e-5, atol=0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    theirs = torch.autograd.grad(expected, parameters)
    assert len(theirs) == len(gradients)
    for (name, one), other in zip(gradients.items(), theirs):
        assert (one.double() - other).abs().max() <= 1e-4 * other.abs().max() + 1e-9, name


def test_label_maps_of_the_image_count_by_cells():
    model, inputs = toy_affinity_net(), images(size=(26, 30))
    coarse = slow.random_labels(2, 7, 8)
    fine = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :26, :30]
    fine[:, ::4, ::4] = 9  # few pixels in every cell
    for one, other in zip(loss_and_gradients(model, inputs, coarse), loss_and_gradients(model, inputs, fine)):
        assert all(torch.equal(one[name], other[name]) for name in one)
    pooled = model.grid_labels(label_samples(fine), inputs)
    assert torch.equal(pooled, coarse)


@pytest.mark.parametrize('border', ['all', 'crop'])
@torch.no_grad()
def test_prediction_equals_the_dense_walk(border):
    walk = dict(type='RandomWalk', beta=30, steps=4, radius=3, border=border)
    model, inputs, size = toy_affinity_net(random_walk=walk, test_cfg=dict(alpha=5, stride=4)), images(), (26, 30)
    classes, cam = [[4, 1], [0, 7]], two_objects(2, 7, 8)
    samples = model.predict(inputs, cam_samples(cam, classes, size, class_filter='label'))
    affinity = model.affinity(model.extract_feat(inputs), 3)[0]
    for n, sample in enumerate(samples):
        full = F.interpolate(cam[n:n + 1].double(), size, mode='bilinear', align_corners=False)[0]
        full = torch.cat([(1 - full.amax(dim=0, keepdim=True))**5, full])
        pooled = torch.zeros(3, 7, 8, dtype=torch.float64)
        for i in range(7):
            for j in range(8):
                pooled[:, i, j] = full[:, 4 * i:4 * i + 4, 4 * j:4 * j + 4].mean(dim=(1, 2))
        walked = slow.dense_walk(affinity[n], pooled, half_disc_offsets(3), 30, 4, border)
        scores = F.interpolate(walked[None], (28, 32), mode='bilinear', align_corners=False)[0, :, :26, :30]
        label = torch.tensor([0, *[c + 1 for c in classes[n]]])[scores.argmax(dim=0)]
        assert sample.pred_sem_seg.data.shape == (1, *size) and sample.pred_sem_seg.data.dtype == torch.int64
        assert (sample.pred_sem_seg.data[0] == label).float().mean() > 0.99 and len(label.unique()) == 3
        background, *walked = F.interpolate(scores[None], (7, 8), mode='bilinear', align_corners=False)[0]
        walked = torch.stack([one / (background + one) for one in walked])
        torch.testing.assert_close(sample.pred_cam.data, walked.half(), rtol=0, atol=2**-10)
        assert sample.pred_img_label.label.tolist() == classes[n] and sample.class_filter == 'label'


@torch.no_grad()
@torch.no_grad()
def test_a_map_that_resizing_rounds_above_one_has_no_background():
    model, cam = toy_affinity_net(test_cfg=dict(alpha=2.4)), cams(1, 3, 26, 30)
    cam[:, 0, 8:16, 8:16] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    expected = cam.clamp(max=1)
    torch.testing.assert_close(model.refine(images(1), cam), model.refine(images(1), expected))


def test_alpha_is_how_little_background_there_is():
    def share(alpha):
        walk = dict(type='RandomWalk', beta=30, steps=4, radius=3)
        model = toy_affinity_net(random_walk=walk, test_cfg=dict(alpha=alpha))
        sample, = model.predict(images(1), cam_samples(two_objects(1, 7, 8), [[0, 1]], (26, 30)))
        return (sample.pred_sem_seg.data == 0).float().mean()

    assert share(1) > share(4) > share(16) and toy_affinity_net().test_cfg['alpha'] == 16


@pytest.mark.parametrize('size', [(1, 1), (5, 3), (9, 30)])
@torch.no_grad()
def test_small_images_have_pairs_closer_by(size):
    """At 3 x 8 positions radius 3 becomes 1, which makes no pair: the CAM stays where it is."""
    model, inputs, grid = toy_affinity_net(), images(1, size), [-(-side // 4) for side in size]
    sample, = model.predict(inputs, cam_samples(cams(1, 2, *grid), [[0, 1]], size))
    assert model.affinity(model.extract_feat(inputs), 3)[1] == ()
    assert sample.pred_sem_seg.data.shape == (1, *size)
    losses = model.loss(inputs, label_samples(torch.zeros(1, *grid, dtype=torch.int64)))
    assert sum(losses.values()) == 0
    embedding = model.extract_feat(images(1, (24, 40)))
    assert model.affinity(embedding, 3)[1] == half_disc_offsets(2)  # (6 - 1) // 2


def test_modes_and_stride():
    model, inputs = toy_affinity_net(), images()
    assert model(inputs).shape == (2, 7, 7, 8) and torch.equal(model(inputs), model.extract_feat(inputs))
    assert model.encode_decode(inputs).shape == (2, 7, 26, 30)
    with pytest.raises(ValueError, match=r'the head gives \(7, 8\) for images of \(26, 30\), .* grid_stride=8'):
        toy_affinity_net(grid_stride=8).extract_feat(inputs)
    with pytest.raises(ValueError, match=r'AffinityNet: test_cfg\.alpha must be above 0, got 0'):
        toy_affinity_net(test_cfg=dict(alpha=0))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_mixed_precision_and_layout(dtype):
    def samples():
        return cam_samples(cams(2, 1, 7, 8), [[0], [2]], (26, 30))

    model, inputs = toy_affinity_net(), images()
    expected = [sample.pred_cam.data for sample in model.predict(inputs, samples())]
    model, inputs = model.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
    with torch.autocast('cpu', dtype=dtype):
        found = model.predict(inputs, samples())
    for sample, cam in zip(found, expected):
        torch.testing.assert_close(sample.pred_cam.data, cam, rtol=0, atol=0.05)


def test_training_lowers_the_loss():
    inputs, labels = 0.1 * images(4, (24, 24)), torch.full((4, 24, 24), 255)
    labels[:, :, :10], labels[:, :, 14:] = 0, 1
    inputs[:, 1, :, 12:] += 1
    model = toy_affinity_net().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    history = []
    for _ in range(30):
        loss = sum(model.loss(inputs, label_samples(labels)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.3 * history[0]
