import pytest
import torch
from hf_toy import CONFIGS, need_transformers, scrambled
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.models.classifiers.mctformer import class_token_maps
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionMaps
from mmwsss.utils.errors import UserError

need_transformers()


def build(kind='vit', maps='both', **kwargs):
    torch.manual_seed(0)
    backbone = dict(type='HFBackbone', config=CONFIGS[kind], **kwargs.pop('backbone', {}))
    return scrambled(MODELS.build(dict(
        type='MCTformer', backbone=backbone, cam_head=dict(type='CAMHead', in_channels=16, num_classes=4), maps=maps,
        data_preprocessor=dict(type='WSSSDataPreProcessor'), **kwargs)))


def samples(labels, size=(32, 40)):
    result = []
    for row in labels:
        sample = SegDataSample(metainfo=dict(ori_shape=size))
        sample.gt_img_label = LabelData(label=torch.tensor(row, dtype=torch.float32))
        result.append(sample)
    return result


def test_token_maps_are_mean_attention():
    blocks = [torch.rand(2, 3 + 6, 3 + 6) for _ in range(2)]
    maps = class_token_maps(AttentionMaps(tuple(blocks), (2, 3)), 2)
    assert maps.shape == (2, 2, 2, 3)
    for n, c, y, x in [(0, 0, 0, 0), (1, 1, 1, 2), (0, 1, 1, 0)]:
        expected = sum(block[n, c, 3 + y * 3 + x] for block in blocks) / 2
        assert maps[n, c, y, x].item() == pytest.approx(expected.item())


@torch.no_grad()
def test_cam_is_attention_times_patch_maps():
    images = torch.randn(2, 3, 32, 40)
    both, token, patch = (build(maps=maps).eval().compute_cam(images) for maps in ('both', 'token', 'patch'))
    assert both.cam.shape == (2, 4, 4, 5) and both.attentions.num_special == 4
    assert len(both.attentions.blocks) == 3
    torch.testing.assert_close(both.cam, token.cam * patch.cam)
    model = build().eval()
    feats = model.backbone(images)
    torch.testing.assert_close(patch.cam, model.cam_head(feats).relu())
    scores = torch.stack([feats.tokens[:, c].mean(dim=1) for c in range(4)], dim=1)
    torch.testing.assert_close(both.logits, (model.cam_head(feats).mean(dim=(2, 3)) + scores) / 2)


def test_losses_train_everything():
    model = build(token_weight=0.5).train()
    losses = model.loss(torch.randn(2, 3, 32, 40), samples([[1, 0, 0, 1], [0, 1, 0, 0]]))
    assert set(losses) == {'loss_cls', 'loss_token'}
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert model.backbone.class_tokens.grad.abs().sum() > 0
    other = build(token_weight=1.0).train().loss(torch.zeros(1, 3, 32, 32), samples([[1, 0, 0, 1]]))
    half = build(token_weight=0.5).train().loss(torch.zeros(1, 3, 32, 32), samples([[1, 0, 0, 1]]))
    torch.testing.assert_close(other['loss_token'], 2 * half['loss_token'])


def test_it_learns_which_token_is_which_class():
    """Images of one bright quarter; the class says which."""
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='MCTformer', backbone=dict(type='HFBackbone', config=dict(CONFIGS['vit'], num_hidden_layers=2),
                                        attention_blocks=2),
        cam_head=dict(type='CAMHead', in_channels=16, num_classes=2)))
    images = torch.zeros(8, 3, 32, 32)
    labels = torch.arange(8) % 2
    for image, label in zip(images, labels):
        image[0 if label else 1, :16, :16] = 3.0
    data = samples(torch.nn.functional.one_hot(labels, 2).tolist())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    first = None
    for _ in range(40):
        losses = model.loss(images, data)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        first = first or {key: loss.item() for key, loss in losses.items()}
    assert losses['loss_token'] < 0.5 * first['loss_token'] and losses['loss_cls'] < 0.5 * first['loss_cls']


@torch.no_grad()
@pytest.mark.parametrize('kind', ['vit', 'dinov2_with_registers', 'clip'])
def test_predicts_with_hooks(kind):
    model = build(kind, inference_hooks=[dict(type='MultiScaleFlip', scales=(1.0, 1.5)),
                                         dict(type='AttentionRefinement')]).eval()
    result = model.predict(torch.randn(1, 3, 32, 40), samples([[1, 0, 0, 1]]))
    assert result[0].pred_cam.data.shape == (2, 8, 10) and result[0].pred_cam.data.max() == 1
    # the hooks must see all images with their own features: so not outside of the crops
    wrong = build(kind, inference_hooks=[dict(type='AttentionRefinement'), dict(type='MultiScaleFlip')]).eval()
    with pytest.raises(UserError, match='comes without attention'):
        wrong.predict(torch.randn(1, 3, 32, 40), samples([[1, 0, 0, 1]]))


def test_mistakes():
    with pytest.raises(ValueError, match='maps is one of'):
        build(maps='neither')
    with pytest.raises(UserError, match='num_class_tokens'):
        build('siglip')
    with pytest.raises(UserError, match="not for 'swin'"):
        build('swin')
