"""What AffinityNet and IRNet share: labels, predictions as the evaluators want them, several ranks."""

import affinity_ddp_worker as worker
import affinity_reference as slow
import pytest
import torch
from affinity_toy import cam_samples, label_samples, loss_and_gradients, toy_affinity_net, toy_irnet
from mmseg.structures import SegDataSample
from two_ranks import run_script

from mmwsss.evaluation import CAMMetric, CAMWriter, PseudoLabelWriter
from mmwsss.models.affinity.base_affinity_model import NORMALIZATIONS
from mmwsss.structures import read_cam, read_label, write_label
from mmwsss.utils.errors import UserError

TOYS = [toy_affinity_net, toy_irnet]


def images(num=2, size=(18, 21), seed=0):
    return slow.random(num, 3, *size, seed=seed).float()


def cams(*shape, seed=3):
    return slow.random(*shape, seed=seed).sigmoid().float()


@pytest.mark.parametrize('toy', TOYS)
@torch.no_grad()
def test_batch_gives_what_single_images_give(toy):
    """Images of a batch have different numbers of classes, or none."""
    model, inputs, classes = toy(), images(4), [[2], [], [0, 1, 5], [3, 4]]
    maps = [cams(len(present), 5, 6, seed=n) for n, present in enumerate(classes)]
    together = model.predict(inputs, cam_samples(maps, classes, (18, 21)))
    for n, sample in enumerate(together):
        alone, = model.predict(inputs[n:n + 1], cam_samples(maps[n:n + 1], classes[n:n + 1], (18, 21)))
        assert sample.pred_cam.data.shape == (len(classes[n]), 5, 6)
        assert sample.pred_img_label.label.tolist() == classes[n]
        assert set(sample.pred_sem_seg.data.unique().tolist()) <= {0, *(c + 1 for c in classes[n])}
        assert (sample.pred_sem_seg.data == alone.pred_sem_seg.data).float().mean() > 0.99
        torch.testing.assert_close(sample.pred_cam.data, alone.pred_cam.data, rtol=0, atol=2**-10)
    assert (together[1].pred_sem_seg.data == 0).all()
    alone, = model.predict(inputs[1:2], cam_samples(maps[1:2], [[]], (18, 21)))
    assert (alone.pred_sem_seg.data == 0).all() and alone.pred_cam.data.shape == (0, 5, 6)


@pytest.mark.parametrize('toy', TOYS)
@torch.no_grad()
def test_map_that_is_empty_or_faint(toy):
    model, maps = toy(test_cfg=dict(normalize='map')), torch.zeros(1, 2, 5, 6)
    maps[0, 1, 2, 3] = 1e-7
    sample, = model.predict(images(1), cam_samples(maps, [[0, 1]], (18, 21)))
    empty, faint = sample.pred_cam.data
    assert (empty == 0).all() and faint.max() == 1 and (sample.pred_sem_seg.data != 1).all()


@pytest.mark.parametrize('name', ['map', 'image', 'background'])
def test_normalizations(name):
    scores = cams(4, 3, 5)
    scores[3] = 0
    scores[:, 1, 2] = 0
    maps = NORMALIZATIONS[name](scores)
    for k in range(3):
        for y in range(3):
            for x in range(5):
                own, background = scores[k + 1, y, x].item(), scores[0, y, x].item()
                divisor = {'map': scores[k + 1].max().item(), 'image': scores[1:].max().item(),
                           'background': own + background}[name]
                assert maps[k, y, x].item() == pytest.approx(own / divisor if own else 0)
    assert NORMALIZATIONS[name](scores[:1]).shape == (0, 3, 5)
    assert (NORMALIZATIONS[name](scores * 0) == 0).all()


@torch.no_grad()
def test_labels_are_those_of_the_maps_at_one_half():
    walk = dict(type='RandomWalk', beta=30, steps=2, radius=3)
    model, classes = toy_affinity_net(random_walk=walk, test_cfg=dict(stride=1, alpha=2)), [[0, 3]]
    maps = cams(1, 2, 5, 6)
    maps[..., 3:] *= 0.1
    sample, = model.predict(images(1), cam_samples(maps, classes, (18, 21)))
    cam = sample.pred_cam.data.float()
    label = torch.tensor([1, 4])[cam.argmax(dim=0)] * (cam.amax(dim=0) > 0.5)
    assert (label == sample.pred_sem_seg.data[0]).float().mean() > 0.99 and 0 < (label == 0).float().mean() < 1


@pytest.mark.parametrize('toy', TOYS)
@torch.no_grad()
def test_cams_of_any_stride_for_images_that_were_resized(toy):
    model, inputs = toy(test_cfg=dict(stride=3)), images(1)
    sample, = model.predict(inputs, cam_samples(cams(1, 2, 18, 21), [[0, 1]], (36, 40)))
    assert sample.pred_sem_seg.data.shape == (1, 36, 40) and sample.pred_cam.data.shape == (2, 12, 14)
    coarse, = model.predict(inputs, cam_samples(cams(1, 2, 2, 2), [[0, 1]], (18, 21)))
    assert coarse.pred_sem_seg.data.shape == (1, 18, 21) and coarse.pred_cam.data.shape == (2, 6, 7)


@pytest.mark.parametrize('toy', TOYS)
@torch.no_grad()
def test_evaluators_take_the_predictions(toy, tmp_path):
    classes = ['cat', 'dog', 'owl']
    model, inputs = toy(), images()
    given = cam_samples(cams(2, 2, 5, 6), [[0, 2], [1, 2]], (18, 21), class_filter='label')
    samples = model(inputs, given, mode='predict')
    for n, sample in enumerate(samples):
        write_label(tmp_path / f'mask{n}.png', sample.pred_sem_seg.data[0].to(torch.uint8).numpy())
        sample.set_metainfo(dict(stem=f'photo{n}', seg_map_path=str(tmp_path / f'mask{n}.png')))
    samples = [sample.to_dict() for sample in samples]
    evaluators = [CAMMetric(), CAMWriter(tmp_path / 'cams', stride=4), PseudoLabelWriter(tmp_path / 'labels')]
    metrics = {}
    for evaluator in evaluators:
        evaluator.dataset_meta = dict(classes=classes)
        evaluator.process(None, samples)
        metrics.update(evaluator.evaluate(2))
    assert metrics['num_cams'] == metrics['num_labels'] == 2 and 0 < metrics['mIoU'] <= 100
    for n, sample in enumerate(samples):
        written = read_cam(tmp_path / f'cams/photo{n}.npz')
        assert written.classes.tolist() == sample['pred_img_label']['label'].tolist() and written.size == (18, 21)
        assert torch.equal(torch.from_numpy(written.cam), sample['pred_cam']['data'])
        label = read_label(tmp_path / f'labels/photo{n}.png')
        assert torch.equal(torch.from_numpy(label).long(), sample['pred_sem_seg']['data'][0])


@pytest.mark.parametrize('toy', TOYS)
def test_class_filter_is_that_of_the_cam_where_it_is_known(toy):
    sample, = toy().predict(images(1), cam_samples(cams(1, 1, 5, 6), [[0]], (18, 21)))
    assert sample.class_filter is None


@pytest.mark.parametrize('toy', TOYS)
def test_images_without_cam(toy):
    model = toy()
    with pytest.raises(UserError, match=r'photo.jpg: has no CAM, .*load its CAM file in the test pipeline'):
        model.predict(images(1), [SegDataSample(metainfo=dict(ori_shape=(18, 21), img_path='photo.jpg'))])
    with pytest.raises(UserError, match='an image: has no CAM'):
        model(images(1), mode='predict')
    padded = cam_samples(cams(1, 1, 5, 6), [[0]], (16, 21), img_padding_size=(0, 0, 0, 2))
    with pytest.raises(ValueError, match='remove the test padding'):
        model.predict(images(1), padded)


@pytest.mark.parametrize('toy', TOYS)
def test_label_maps_that_do_not_fit(toy):
    model = toy()
    with pytest.raises(UserError, match=r'photo.jpg: has no label map'):
        model.loss(images(1), [SegDataSample(metainfo=dict(img_path='photo.jpg'))])
    with pytest.raises(UserError, match=r'photo.jpg: its label map is \(9, 9\) in a batch of \(18, 21\).*\(5, 6\)'):
        model.loss(images(1), label_samples(torch.zeros(1, 9, 9, dtype=torch.int64)))


@pytest.mark.parametrize('toy', TOYS)
@pytest.mark.parametrize('label', [255, 0, 1])
def test_batch_without_pairs_of_some_kind(toy, label):
    model = toy().train()
    losses, gradients = loss_and_gradients(model, images(2, (24, 24)), torch.full((2, 24, 24), label))
    for name, loss in losses.items():
        assert (loss > 0) == ((label == 0 and name.endswith('bg')) or (label == 1 and name.endswith('fg'))), name
        assert loss.isfinite()
    # Every trained parameter has a gradient, as DDP demands, if only zero.
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize('name', worker.MODELS)
def test_two_ranks_are_one_rank_with_their_batches(name, two_ranks):
    losses, gradients = loss_and_gradients(worker.MODELS[name](), worker.batch(), worker.labels())
    (first, _), (second, mean) = (rank[name] for rank in two_ranks)
    for key, loss in losses.items():
        # What each rank adds is its part of the mean over all pairs.
        torch.testing.assert_close((first[key] + second[key]) / 2, loss, rtol=1e-5, atol=1e-7)
        assert loss > 0 and first[key] != second[key]
    for key, gradient in gradients.items():
        torch.testing.assert_close(mean[key], gradient, rtol=1e-4, atol=1e-6)
    if name == 'irnet':
        one = toy_irnet()
        one.update_mean_displacement([worker.batch()])
        torch.testing.assert_close(two_ranks[0]['mean'], one.displacement_head.mean_displacement)
        assert torch.equal(two_ranks[0]['mean'], two_ranks[1]['mean'])


def test_global_mean_of_two_ranks(two_ranks):
    for rank, found in enumerate(two_ranks):
        mean, counts = found['global_mean']
        assert mean.tolist() == [4.0, 0.0]  # their mean is (6 + 6) / (1 + 2)
        assert counts.tolist() == [1 + rank, 0]  # as they were


@pytest.fixture(scope='module')
def two_ranks(tmp_path_factory):
    return run_script(worker.__file__, tmp_path_factory.mktemp('ranks'))


@pytest.mark.parametrize('toy', TOYS)
@pytest.mark.parametrize('arguments, words', [
    (dict(test_cfg=dict(class_filter='label')), 'test_cfg: takes stride, .*, not class_filter'),
    (dict(test_cfg=dict(stride=0)), 'test_cfg.stride must be a whole number of at least 1, got 0'),
    (dict(grid_stride=2.5), 'grid_stride must be'), (dict(train_cfg=dict(a=1)), 'has no training options'),
    (dict(radius=1), 'radius must be a whole number of at least 2, got 1'),
    (dict(border='full'), 'border must be one of')])
def test_wrong_arguments(toy, arguments, words):
    with pytest.raises(ValueError, match=words):
        toy(**arguments)


@pytest.mark.parametrize('toy', TOYS)
def test_preprocessor_from_its_config(toy):
    model = toy(data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3, size=(24, 24),
                                       seg_pad_val=255))
    labels = torch.zeros(1, 20, 22, dtype=torch.int64)
    data = dict(inputs=[torch.zeros(3, 20, 22)], data_samples=label_samples(labels))
    data = model.data_preprocessor(data, training=True)
    assert model.grid_labels(data['data_samples'], data['inputs']).shape == (1, 6, 6)
    assert (data['data_samples'][0].gt_sem_seg.data[0, 20:] == 255).all()
    losses = model(**data, mode='loss')
    assert sum(losses.values()).isfinite()
