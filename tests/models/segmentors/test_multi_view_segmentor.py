import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

import mmwsss.datasets  # noqa: F401  (registers the transforms)
from mmwsss.models.segmentors import MultiViewSegmentor, mean_of_views
from mmwsss.registry import MODELS
from mmwsss.structures.label_file import read_label, write_label
from mmwsss.utils.errors import UserError

FACTORS = (0.5, 1.0, 1.25)


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmwsss')
    torch.manual_seed(0)
    built = MODELS.build(dict(type='MultiViewSegmentor', module=dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='WSSSDataPreProcessor', mean=[100.0, 110.0, 120.0], std=[50.0, 51.0, 52.0],
                               bgr_to_rgb=True),
        backbone=dict(type='ResNet38', out_indices=(2,), base_channels=1),
        decode_head=dict(type='DeepLabV2Head', in_channels=64, dilations=(1, 2), num_classes=4),
        train_cfg={}, test_cfg=ConfigDict(mode='whole'))))
    built.init_weights()
    torch.nn.init.normal_(built.module.decode_head.branches[0].weight, std=0.5)
    return built.eval()


def pipeline(factors=FACTORS, flips=(0.0, 1.0)):
    return Compose([dict(type='LoadImage'), dict(type='LoadMask'), dict(type='TestTimeAug', transforms=[
        [dict(type='ScaleImage', factor=factor) for factor in factors],
        [dict(type='RandomFlip', prob=prob) for prob in flips], [dict(type='PackWSSSInputs')]])])


def make_image(folder, size, seed=0):
    rng = np.random.default_rng([seed, *size])
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / f'{seed}.png'), image)
    write_label(folder / f'{seed}_mask.png', rng.integers(0, 4, size).astype(np.uint8))
    return image, dict(img_path=str(folder / f'{seed}.png'), seg_map_path=str(folder / f'{seed}_mask.png'))


def predict(model, batch, **options):
    with torch.no_grad():
        return model.test_step(pseudo_collate([pipeline(**options)(dict(info)) for info in batch]))


def by_hand(segmentor, image, factors=FACTORS):
    """The mean over views, one resize, one flip and one forward pass at a time."""
    height, width = image.shape[:2]
    total = torch.zeros(4, height, width, dtype=torch.float64)
    for factor in factors:
        for flip in (False, True):
            size = max(1, round(factor * width)), max(1, round(factor * height))
            view = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            view = view[:, ::-1] if flip else view
            rgb = torch.from_numpy(view[..., ::-1].copy()).permute(2, 0, 1)[None].float()
            mean, std = (torch.tensor(v)[None, :, None, None] for v in ([100., 110, 120], [50., 51, 52]))
            with torch.no_grad():
                logits = segmentor.decode_head(segmentor.backbone((rgb - mean) / std))
                logits = F.interpolate(logits, size=view.shape[:2], mode='bilinear', align_corners=False)
            logits = logits.flip(3) if flip else logits
            logits = F.interpolate(logits, size=(height, width), mode='bilinear', align_corners=False)[0]
            total += torch.exp(logits.double()) / torch.exp(logits.double()).sum(dim=0)
    return total / (2 * len(factors))


@pytest.mark.parametrize('size', [(24, 40), (17, 31), (1, 1), (1, 19), (23, 1)])
def test_equals_the_mean_by_hand(model, tmp_path, size):
    image, info = make_image(tmp_path, size)
    sample, = predict(model, [info])
    expected = by_hand(model.module, image)
    torch.testing.assert_close(sample.seg_logits.data.exp().double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sample.seg_logits.data.softmax(dim=0), sample.seg_logits.data.exp())
    assert torch.equal(sample.pred_sem_seg.data[0], sample.seg_logits.data.argmax(dim=0))
    assert sample.pred_sem_seg.shape == sample.gt_sem_seg.shape == size == sample.ori_shape
    if size == (24, 40):
        assert sample.pred_sem_seg.data.unique().numel() > 1 and 0.3 < expected.amax(dim=0).mean() < 0.999


def test_images_of_a_batch_may_differ_in_size(model, tmp_path):
    sizes = [(24, 40), (17, 31), (24, 40), (1, 1)]
    infos = [make_image(tmp_path, size, seed)[1] for seed, size in enumerate(sizes)]
    together = predict(model, infos)
    for info, sample, size in zip(infos, together, sizes):
        alone, = predict(model, [info])
        assert sample.img_path == info['img_path'] and sample.pred_sem_seg.shape == size
        torch.testing.assert_close(sample.seg_logits.data.exp(), alone.seg_logits.data.exp(), atol=1e-5, rtol=1e-4)


def test_ground_truth_is_that_of_the_image(model, tmp_path):
    _, info = make_image(tmp_path, (20, 28))
    mask = torch.from_numpy(read_label(info['seg_map_path'])).long()
    for flips in ((0.0, 1.0), (1.0, 0.0)):
        sample, = predict(model, [info], flips=flips)
        assert torch.equal(sample.gt_sem_seg.data[0], mask) and not sample.get('flip')


def test_merging_what_is_there_already(model, tmp_path):
    infos = [make_image(tmp_path, (16, 24), seed)[1] for seed in range(2)]
    data = pseudo_collate([pipeline()(dict(info)) for info in infos])
    with torch.no_grad():
        views = [model._predict(*view) for view in zip(data['inputs'], data['data_samples'])]
        merged = model.merge_preds(list(zip(*views)))
    for sample, expected in zip(merged, predict(model, infos)):
        assert torch.equal(sample.seg_logits.data, expected.seg_logits.data)


def test_mean_of_views():
    torch.manual_seed(0)
    logits = [[torch.randn(3, 2, 4) * 5, torch.randn(5, 1, 1).half()] for _ in range(4)]
    before = logits[0][0].clone()
    for i, result in enumerate(mean_of_views(iter(logits))):
        expected = sum(view[i].double().softmax(dim=0) for view in logits) / 4
        torch.testing.assert_close(result.double().exp(), expected, atol=1e-6, rtol=1e-5)
        assert result.dtype == torch.float32
    assert torch.equal(logits[0][0], before)
    with pytest.raises(ValueError, match='no view'):
        mean_of_views([])


def test_probability_that_underflows():
    log_mean, = mean_of_views([[torch.tensor([0.0, 500.0])[:, None, None]]] * 2)
    assert log_mean.flatten().tolist() == [-float('inf'), 0] and log_mean.softmax(dim=0).flatten().tolist() == [0, 1]


def test_mistakes(model, tmp_path):
    _, info = make_image(tmp_path, (8, 9))
    with pytest.raises(UserError, match='every view is flipped'):
        predict(model, [info], flips=(1.0,))
    one_view = Compose([dict(type='LoadImage'), dict(type='PackWSSSInputs')])(dict(info))
    with pytest.raises(UserError, match='one view of each image'):
        model.test_step(pseudo_collate([one_view]))


def test_preprocessor_is_that_of_the_segmentor(model):
    assert isinstance(model, MultiViewSegmentor) and model.data_preprocessor is model.module.data_preprocessor
