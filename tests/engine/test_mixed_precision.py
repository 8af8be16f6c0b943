import pytest
import torch
from torch import nn

from mmwsss.engine.fuse_conv_bn import fuse_conv_bn
from mmwsss.engine.mixed_precision import autocast, cast_backbone_weights
from mmwsss.models import EfficientNetLite, ResNet38
from mmwsss.models.backbones import CachedBackbone
from mmwsss.utils.errors import UserError


def test_cpu():
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(model, 'bfloat16'):
        assert model(x).dtype == torch.bfloat16
    with autocast(model, None):
        assert model(x).dtype == torch.float32


@pytest.mark.parametrize('dtype', ['float16', 'float64', 'bf16'])
def test_refused(dtype):
    with pytest.raises(UserError, match=dtype) as error:
        autocast(nn.Linear(2, 2), dtype)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('make', [lambda: EfficientNetLite('lite0'), lambda: ResNet38(base_channels=4)])
def test_weights_that_are_cast_once_give_the_same_features(make):
    torch.manual_seed(0)
    model = nn.ModuleDict(dict(backbone=make(), head=nn.Conv2d(3, 3, 1))).eval()
    images = torch.randn(2, 3, 40, 33)

    def features():
        with torch.no_grad(), autocast(model, 'bfloat16'):
            return [feature.clone() for feature in model['backbone'](images)]

    expected = features()
    convolutions = [m for m in model['backbone'].modules() if isinstance(m, nn.Conv2d)]
    assert cast_backbone_weights(model, None) == 0 and convolutions[0].weight.dtype == torch.float32
    assert cast_backbone_weights(model, 'bfloat16') == len(convolutions) > 5
    assert {m.weight.dtype for m in convolutions} == {torch.bfloat16}
    assert model['head'].weight.dtype == torch.float32
    for feature, value in zip(features(), expected, strict=True):
        torch.testing.assert_close(feature, value, rtol=0, atol=0)


def test_a_cached_backbone_keeps_its_weights(tmp_path):
    torch.manual_seed(0)
    backbone = CachedBackbone(dict(type='EfficientNetLite', variant='lite0'), tmp_path)
    model, images = nn.ModuleDict(dict(backbone=backbone)).eval(), torch.randn(1, 3, 40, 33)
    expected = backbone(images)
    assert fuse_conv_bn(model) == 0 and cast_backbone_weights(model, 'bfloat16') == 0
    backbone.cache = None
    with autocast(model, 'bfloat16'):
        for feature, value in zip(backbone(images), expected, strict=True):
            torch.testing.assert_close(feature, value, rtol=0, atol=0)
        backbone(images + 1)  # one that is computed
    assert len(list(tmp_path.iterdir())) == 1


def test_weights_are_not_cast_in_training():
    with pytest.raises(ValueError, match='training mode'):
        cast_backbone_weights(nn.ModuleDict(dict(backbone=nn.Conv2d(1, 1, 1))), 'bfloat16')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_gpu(dtype):
    model = nn.Linear(2, 2).cuda()
    with autocast(model, dtype):
        assert model(torch.ones(1, 2, device='cuda')).dtype == getattr(torch, dtype)
