"""Five families of backbones under every kind of method, by config alone; and what gradient CAMs need of CLIP."""
import copy

import numpy as np
import pytest
import torch
from affinity_toy import cam_samples, label_samples
from hf_toy import CONFIGS, FAMILIES, TOKEN_KINDS, need_transformers, tiny
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.registry import MODELS

need_transformers()
PREPROCESSOR = dict(type='WSSSDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True)
SIZE = (64, 80)
HEAD = dict(type='CAMHead', num_classes=3)


def backbone(family, **kwargs):
    options = dict(attention_blocks=2) if family in TOKEN_KINDS else {}
    return tiny(family, **{**options, **kwargs})


def channels(family, **kwargs):
    return MODELS.build(backbone(family, **kwargs)).channels


def samples(labels=((1, 0, 0), (0, 1, 1)), size=SIZE):
    result = []
    for row in labels:
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, img_path='photo.jpg'))
        sample.gt_img_label = LabelData(label=torch.tensor(row, dtype=torch.float32))
        result.append(sample)
    return result


def images():
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def build(config):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmwsss'):  # as in a Runner
        return MODELS.build(ConfigDict(config))


def train_a_step(model, data):
    """Every loss is finite, every trainable parameter moves, nothing else does."""
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    losses = {k: v for k, v in model.loss(images(), data).items() if 'loss' in k}
    assert losses and all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) or parameter.requires_grad, name
        # a stage's own norm is trained only where a head uses its map
        if 'hidden_states_norms' not in name:
            assert (parameter.grad is not None) == parameter.requires_grad, name
    return losses


def cam_classifier(family, hooks=(), **kwargs):
    return dict(type='CAMClassifier', backbone=backbone(family), data_preprocessor=PREPROCESSOR,
                cam_head=dict(HEAD, in_channels=channels(family)[-1]), inference_hooks=hooks, **kwargs)


@pytest.mark.parametrize('family', FAMILIES)
def test_cam_and_ssa(family):
    hooks = [dict(type='MultiScaleFlip', scales=(0.75, 1.0)), dict(type='SSA', stages=('1', '2'))]
    model = build(cam_classifier(family, hooks))
    train_a_step(model, samples())
    refined = model.eval().predict(images(), samples())
    assert [s.pred_cam.data.shape for s in refined] == [(1, 16, 20), (2, 16, 20)]
    assert all(s.pred_cam.data.isfinite().all() for s in refined)
    plain = build(cam_classifier(family))
    plain.load_state_dict(model.state_dict())
    one = plain.eval().predict(images(), samples())[0].pred_cam.data
    assert one.shape == (1, 16, 20) and not torch.equal(one, refined[0].pred_cam.data)


@pytest.mark.parametrize('family', [f for f in FAMILIES if f in TOKEN_KINDS])
def test_attention_refinement(family):
    model = build(cam_classifier(family, [dict(type='MultiScaleFlip', scales=(1.0, 1.25)),
                                          dict(type='AttentionRefinement', class_token=True)])).eval()
    result = model.predict(images(), samples())
    assert all(s.pred_cam.data.isfinite().all() and s.pred_cam.data.max() <= 1 for s in result)


@pytest.mark.parametrize('family', FAMILIES)
def test_seam(family):
    tap = channels(family)
    model = build(dict(
        type='SEAM', data_preprocessor=PREPROCESSOR,
        classifier=dict(type='CAMClassifier', backbone=backbone(family), cam_head=dict(HEAD, in_channels=tap[-1])),
        pcm=dict(type='PCM', in_channels=tap[:2], reduced_channels=(4, 4), channels=8),
        views=[dict(type='RescaleView', scale=0.5)], loss_er=dict(type='ERLoss'), loss_ecr=dict(type='ECRLoss'),
        loss_min_pool=dict(type='MinPoolingLoss')))
    assert len(train_a_step(model, samples())) == 4
    result = model.eval().predict(images(), samples())
    assert result[1].pred_cam.data.shape == (2, 16, 20) and result[1].pred_cam.data.isfinite().all()


@pytest.mark.parametrize('family', FAMILIES)
def test_irnet(family):
    """Of a transformer of one stride a pyramid is made; stages have one, but not always of the image's size."""
    out = (0, 1, 2, 3) if family in TOKEN_KINDS else (1, 2, 3, 4)
    pyramid = dict(out_indices=out, out_strides=(4, 8, 16, 16), attention_blocks=0)
    if family not in TOKEN_KINDS:
        pyramid.pop('attention_blocks')
    tap = channels(family, **pyramid)
    taps = (0, 0, 1, 2, 3)
    part = dict(in_channels=[tap[i] for i in taps], in_indices=taps)
    model = build(dict(
        type='IRNet', backbone=tiny(family, **pyramid), data_preprocessor=PREPROCESSOR,
        edge_head=dict(type='EdgeHead', channels=4, num_groups=2, **part),
        displacement_head=dict(type='DisplacementHead', channels=(4, 4, 6, 6, 6), num_groups=(2, 2, 3, 3, 2),
                               joined_channels=8, **part),
        loss_affinity=dict(type='AffinityLoss'), loss_displacement=dict(type='DisplacementLoss'),
        random_walk=dict(type='RandomWalk', beta=5, steps=8, radius=3), radius=4, test_cfg=dict(stride=4)))
    labels = torch.zeros(2, *SIZE, dtype=torch.long)
    labels[:, :32, :40] = 1
    losses = train_a_step(model, label_samples(labels))
    assert 'loss_affinity_neg' in losses and not any(p.requires_grad for p in model.backbone.parameters())
    cams = torch.rand(2, 2, 16, 20)
    result = model.eval().predict(images(), cam_samples(cams, [[0, 2]] * 2, SIZE))
    assert len(result) == 2


@pytest.mark.parametrize('family', ['dinov2', 'convnext'])
def test_affinity_net(family):
    pyramid = dict(out_strides=(4, 8, 16))
    if family in TOKEN_KINDS:
        pyramid['attention_blocks'] = 0
    model = build(dict(
        type='AffinityNet', backbone=backbone(family, **pyramid), data_preprocessor=PREPROCESSOR,
        affinity_head=dict(type='AffinityHead', in_channels=channels(family, **pyramid), reduced_channels=(3, 4, 4)),
        loss_affinity=dict(type='AffinityLoss'), random_walk=dict(type='RandomWalk', beta=3, steps=8, radius=3),
        radius=3, grid_stride=4))
    labels = torch.zeros(2, *SIZE, dtype=torch.long)
    labels[:, :32, :40] = 1
    assert train_a_step(model, label_samples(labels))
    result = model.eval().predict(images(), cam_samples(torch.rand(2, 2, 16, 20), [[0, 2]] * 2, SIZE))
    assert len(result) == 2


@pytest.mark.parametrize('family', FAMILIES)
def test_deeplab(family):
    model = build(dict(
        type='mmseg.EncoderDecoder', backbone=tiny(family), data_preprocessor=PREPROCESSOR, train_cfg=dict(),
        decode_head=dict(type='ASPPHead', in_channels=channels(family)[-1], in_index=-1, channels=8, num_classes=4,
                         dilations=(1, 3), norm_cfg=dict(type='BN'), align_corners=False, dropout_ratio=0,
                         loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
        test_cfg=dict(mode='whole')))
    labels = torch.zeros(2, *SIZE, dtype=torch.long)
    labels[:, :32, :40] = 3
    data = label_samples(labels)
    for sample in data:
        sample.set_metainfo(dict(ori_shape=SIZE, img_shape=SIZE, pad_shape=SIZE))
    assert 'decode.loss_ce' in train_a_step(model, data)
    result = model.eval().predict(images(), data)
    assert result[0].pred_sem_seg.data.shape == (1, *SIZE)


def test_clip_es(tmp_path):
    """The gradient CAM of the class token's score against texts, along the attention; nothing is trained."""
    np.save(tmp_path / 'texts.npy', np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32))
    model = build(dict(
        type='CAMClassifier', data_preprocessor=PREPROCESSOR,
        backbone=dict(type='HFBackbone', config=CONFIGS['clip'], project=True, final_norm=False, out_indices=(-2, -1),
                      attention_blocks=2, frozen=False),
        cam_head=dict(type='TextCAMHead', embeddings=str(tmp_path / 'texts.npy'), num_classes=3, source='token'),
        cam_provider=dict(type='GradCAM', stage='0'),
        inference_hooks=[dict(type='AttentionRefinement', sinkhorn=3, symmetric=True, times=2)])).eval()
    result = model.predict(images(), samples())
    assert [s.pred_cam.data.shape for s in result] == [(1, 16, 20), (2, 16, 20)]
    assert all(s.pred_cam.data.max() > 0 for s in result)
    # the gradient by its definition
    feats = model.backbone(images().requires_grad_())
    score = model.cam_head(feats)[0, 0, 0, 0]
    grads, = torch.autograd.grad(score, feats[0])
    expected = (grads[0].mean(dim=(1, 2), keepdim=True) * feats[0][0]).sum(dim=0).relu()
    torch.testing.assert_close(model.cam_function(images(), torch.tensor([[1., 0, 0], [0, 1, 1]])).cam[0, 0], expected)


def test_patches_against_texts_are_a_cam(tmp_path):
    np.save(tmp_path / 'texts.npy', np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32))
    model = build(dict(
        type='CAMClassifier', data_preprocessor=PREPROCESSOR,
        backbone=dict(type='HFBackbone', config=CONFIGS['clip'], project=True, frozen=True),
        cam_head=dict(type='TextCAMHead', embeddings=str(tmp_path / 'texts.npy'), num_classes=3))).eval()
    assert not any(p.requires_grad for p in model.parameters())
    assert model.predict(images(), samples())[1].pred_cam.data.max() == 1
