import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample

from mmwsss.apis.runner import train
from mmwsss.config.config import load_config
from mmwsss.models.losses import SaliencyConflictLoss, background_conflict, saliency_loss
from mmwsss.models.segmentors.saliency_encoder_decoder import stack_saliency
from mmwsss.registry import DATASETS, MODELS
from mmwsss.utils.errors import UserError

SIZE = (12, 16)
CROSS_ENTROPY = dict(type='CrossEntropyLoss', avg_non_ignore=True)
CONFLICT = dict(type='SaliencyConflictLoss', loss_decode=CROSS_ENTROPY)


@MODELS.register_module(force=True)
class SegmentorToyBackbone(BaseModule):
    """Two convolutions; its features have strides 2 and 4."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, inputs):
        first = self.first(inputs).relu()
        return first, self.second(first).relu()


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield


def fcn(loss=CONFLICT, index=1, **options):
    return dict(type='FCNHead', in_channels=(4, 6)[index], in_index=index, channels=5, num_convs=1, num_classes=4,
                dropout_ratio=0, loss_decode=loss, **options)


def aspp(loss=CONFLICT):
    return dict(type='ASPPHead', in_channels=6, in_index=1, channels=5, dilations=(1, 2), num_classes=4,
                dropout_ratio=0, loss_decode=loss)


def build(decode_head, auxiliary_head=None, segmentor='SaliencyEncoderDecoder'):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type=segmentor, backbone=dict(type='SegmentorToyBackbone'), decode_head=decode_head,
        auxiliary_head=auxiliary_head, train_cfg=dict(), test_cfg=ConfigDict(mode='whole'),
        data_preprocessor=dict(type='WSSSDataPreProcessor', size=SIZE, seg_pad_val=255)))


def batch(n=3, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for i in range(n):
        labels = torch.randint(4, (1, *size), generator=generator)
        labels[torch.rand(1, *size, generator=generator) < 0.2] = 255
        sample = SegDataSample(metainfo=dict(img_path=f'data/{i}.jpg', img_shape=size, ori_shape=size))
        sample.gt_sem_seg = PixelData(data=labels)
        sample.gt_saliency = PixelData(data=torch.rand(1, *size, generator=generator))
        samples.append(sample)
    return torch.randn(n, 3, *size, generator=generator), samples


def expected_loss(head, feats, samples, alpha=0.08):
    """Eq. 4 from the parts."""
    logits = resize(head(feats), SIZE, mode='bilinear', align_corners=False)
    labels = torch.cat([sample.gt_sem_seg.data for sample in samples])
    saliency = torch.cat([sample.gt_saliency.data for sample in samples])
    tau, loss_sal = background_conflict(labels, saliency), saliency_loss(logits, saliency, labels)
    seg = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
    return seg + alpha * ((tau.exp() - 1) * loss_sal).mean(), tau.mean(), loss_sal.mean()


@pytest.mark.parametrize('head', [fcn(), aspp()], ids=lambda head: head['type'])
def test_decode_head_gets_the_saliency(head):
    model, (inputs, samples) = build(head), batch()
    model.eval()  # of batch norm
    losses = model.loss(inputs, samples)
    loss, tau, loss_sal = expected_loss(model.decode_head, model.extract_feat(inputs), samples)
    torch.testing.assert_close(losses['decode.loss_saliency_conflict'], loss)
    torch.testing.assert_close(losses['decode.tau'], tau)
    torch.testing.assert_close(losses['decode.saliency_ce'], loss_sal.detach())
    total, logs = model.parse_losses(losses)
    assert total == losses['decode.loss_saliency_conflict'] and {'decode.tau', 'decode.saliency_ce'} < set(logs)
    total.backward()
    assert model.backbone.first.weight.grad.abs().sum() > 0


def test_auxiliary_heads_get_it_too():
    inputs, samples = batch()
    one = build(aspp(), fcn(dict(CONFLICT, loss_weight=0.4), index=0)).eval()
    losses = one.loss(inputs, samples)
    expected = expected_loss(one.auxiliary_head, one.extract_feat(inputs), samples)[0]
    torch.testing.assert_close(losses['aux.loss_saliency_conflict'], 0.4 * expected)
    assert losses['aux.tau'] == losses['decode.tau'] and losses['aux.saliency_ce'] != losses['decode.saliency_ce']
    several = build(aspp(CROSS_ENTROPY), [fcn(CROSS_ENTROPY), fcn(index=0)]).eval()
    losses = several.loss(inputs, samples)
    expected = expected_loss(several.auxiliary_head[1], several.extract_feat(inputs), samples)[0]
    torch.testing.assert_close(losses['aux_1.loss_saliency_conflict'], expected)
    assert [key for key in losses if key.endswith('tau')] == ['aux_1.tau'] and 'aux_0.loss_ce' in losses


def test_one_of_several_losses_of_a_head():
    model, (inputs, samples) = build(fcn([dict(CONFLICT, alpha=1.0), dict(type='DiceLoss')])).eval(), batch()
    losses = model.loss(inputs, samples)
    expected = expected_loss(model.decode_head, model.extract_feat(inputs), samples, alpha=1.0)[0]
    torch.testing.assert_close(losses['decode.loss_saliency_conflict'], expected)
    assert 'decode.loss_dice' in losses and 'decode.tau' in losses


def test_alpha_zero_trains_like_the_plain_segmentor():
    inputs, samples = batch()
    ours, plain = build(fcn(dict(CONFLICT, alpha=0.0))), build(fcn(CROSS_ENTROPY), segmentor='EncoderDecoder')
    for model in (ours, plain):
        model.parse_losses(model.loss(inputs, samples))[0].backward()
    gradients = [{name: p.grad for name, p in model.named_parameters()} for model in (ours, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)
    assert ours.state_dict().keys() == plain.state_dict().keys()


def given(model):
    return [module._given for module in model.modules() if isinstance(module, SaliencyConflictLoss)]


def test_nothing_is_left_behind(monkeypatch):
    model, (inputs, samples) = build(fcn(), fcn(index=0)), batch()
    model.loss(inputs, samples)
    assert given(model) == [None, None]
    seen = []

    def fail(*args):
        seen.extend(given(model))
        raise FloatingPointError

    monkeypatch.setattr(model.decode_head, 'loss_by_feat', fail)
    with pytest.raises(FloatingPointError):
        model.loss(inputs, samples)
    assert len(seen) == 2 and all(item is not None for item in seen) and given(model) == [None, None]


def test_prediction_needs_no_saliency():
    model, (inputs, samples) = build(fcn()).eval(), batch(2)
    for sample in samples:
        del sample.gt_saliency
    with torch.no_grad():
        predictions = model.predict(inputs, samples)
    assert all(sample.pred_sem_seg.data.shape == (1, *SIZE) for sample in predictions)


def test_padding_does_not_count():
    """Saliency, padded with 0, would say background there."""
    model, small = build(fcn()), (7, 9)
    _, samples = batch(2, small)
    saliency = torch.cat([sample.gt_saliency.data for sample in samples])
    labels = torch.cat([sample.gt_sem_seg.data for sample in samples])
    images = [torch.randint(256, (3, *small), dtype=torch.uint8) for _ in samples]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    assert stack_saliency(data['data_samples']).shape == (2, *SIZE)
    losses = model.loss(**data)
    assert losses['decode.tau'] == background_conflict(labels, saliency).mean()


def test_bfloat16_autocast():
    model, (inputs, samples) = build(aspp(), fcn(index=0)), batch()
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(inputs, samples)
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(value.isfinite().all() for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_samples_without_fitting_saliency():
    model, (inputs, samples) = build(fcn()), batch()
    samples[2].gt_saliency = PixelData(data=torch.zeros(1, 3, 4))
    with pytest.raises(UserError, match=r'^data/2\.jpg: its saliency is \[1, 3, 4\].* WSSSDataPreProcessor'):
        model.loss(inputs, samples)
    del samples[1].gt_saliency
    with pytest.raises(UserError, match=r'^data/1\.jpg: comes without saliency; put LoadSaliency'):
        model.loss(inputs, samples)
    assert given(model) == [None]


def test_segmentor_and_loss_belong_together():
    model, (inputs, samples) = build(fcn(), segmentor='EncoderDecoder'), batch()
    with pytest.raises(UserError, match=r'model\.type=SaliencyEncoderDecoder'):
        model.loss(inputs, samples)
    with pytest.raises(ValueError, match='SaliencyEncoderDecoder: no head has a SaliencyConflictLoss'):
        build(fcn(CROSS_ENTROPY))


@pytest.fixture
def config(repo_root, generated_copy):
    return load_config(repo_root / 'configs/segmentation/deeplab_efflite0_generated_saliency.py', generated_copy, {
        'model.backbone.init_cfg': None, 'model.backbone.frozen_stages': 0, 'model.decode_head.channels': 8,
        'model.data_preprocessor.size': (48, 48), 'train_dataloader.dataset.pipeline.3.long_side': (40, 90),
        'train_dataloader.dataset.pipeline.4.crop_size': (48, 48), 'train_dataloader.batch_size': 4,
        'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False, 'train_cfg.max_epochs': 1,
        'full_supervision': True})


def test_saliency_is_resized_cropped_and_flipped_with_the_image(config, generated_copy):
    """The images are their own saliency maps here."""
    for path in (generated_copy / 'JPEGImages').iterdir():
        path.unlink()
        saliency = cv2.imread(str(generated_copy / 'Saliency' / f'{path.stem}.png'), cv2.IMREAD_GRAYSCALE)
        saliency = np.clip(saliency // 2 + np.add.outer(np.arange(saliency.shape[0]), np.arange(saliency.shape[1])),
                           0, 255).astype(np.uint8)  # every place has a value of its own
        cv2.imwrite(str(generated_copy / 'Saliency' / f'{path.stem}.png'), saliency)
        cv2.imwrite(str(path.with_suffix('.png')), saliency)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    flips, sizes = set(), set()
    for i in range(len(dataset)):
        packed = dataset[i]
        sample = packed['data_samples']
        flips.add(sample.flip)
        sizes.add(tuple(packed['inputs'].shape))
        assert sample.gt_saliency.data.shape == sample.gt_sem_seg.data.shape == (1, *packed['inputs'].shape[1:])
        difference = packed['inputs'][:1].float() - 255 * sample.gt_saliency.data
        assert difference.abs().max() <= 1 and packed['inputs'].float().std() > 3
    assert flips == {True, False} and len(sizes) > 1


def test_training_logs_the_temperature(config, tmp_path):
    train(config, tmp_path / 'run')
    logs, = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    entries = [json.loads(line) for line in logs.read_text().splitlines()]
    assert entries and all(0 < entry['decode.tau'] <= 1 and entry['decode.saliency_ce'] > 0 for entry in entries)
    assert all(entry['loss'] == pytest.approx(entry['decode.loss_saliency_conflict']) for entry in entries)
