from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope

from mmwsss.models.backbones import VGG16
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

WEIGHTS = Path('/work/shared/weights/vgg16_features_imagenet.pth')
# torchvision's positions of the convolutions, by stage
POSITIONS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
WIDTHS = (64, 128, 256, 512, 512)


def reference(state, x, output_stride, pool_size):
    """VGG16 written down one convolution after another."""
    taps = []
    for stage, positions in enumerate(POSITIONS):
        dense = stage == 4 and output_stride == 8
        if stage:
            if dense:
                x = F.max_pool2d(x, 3, 1, 1)
            elif pool_size == 3:
                x = F.max_pool2d(x, 3, 2, 1)
            else:
                x = F.max_pool2d(F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2), value=-torch.inf), 2)
        for n in positions:
            d = 2 if dense else 1
            x = F.conv2d(x, state[f'features.{n}.weight'], state[f'features.{n}.bias'], padding=d, dilation=d).relu()
        taps.append(x)
    return taps


@torch.no_grad()
@pytest.mark.parametrize('output_stride, pool_size', [(16, 2), (8, 2), (8, 3), (16, 3)])
def test_equals_the_reference(output_stride, pool_size):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='VGG16', output_stride=output_stride, pool_size=pool_size,
                              out_indices=(0, 1, 2, 3, 4))).eval()
    model.init_weights()
    images = torch.randn(2, 3, 33, 50)
    taps = model(images)
    for tap, expected, width in zip(taps, reference(model.state_dict(), images, output_stride, pool_size), WIDTHS):
        torch.testing.assert_close(tap, expected)
        assert tap.shape[1] == width
    strides = (1, 2, 4, 8, output_stride)
    assert [tuple(tap.shape[-2:]) for tap in taps] == [(-(-33 // s), -(-50 // s)) for s in strides]


def test_keys_are_those_of_torchvision():
    keys = {f'features.{n}.{kind}' for stage in POSITIONS for n in stage for kind in ('weight', 'bias')}
    assert set(VGG16().state_dict()) == set(VGG16(output_stride=8, pool_size=3).state_dict()) == keys


@pytest.mark.skipif(not WEIGHTS.is_file(), reason=f'needs {WEIGHTS}')
def test_imagenet_weights_fit():
    model = MODELS.build(dict(type='VGG16', init_cfg=dict(type='StrictPretrained', checkpoint=str(WEIGHTS))))
    with DefaultScope.overwrite_default_scope('mmwsss'):
        model.init_weights()
    weights = torch.load(WEIGHTS, weights_only=True)
    assert torch.equal(model.features[0].weight, weights['features.0.weight'])
    assert torch.equal(model.features[28].bias, weights['features.28.bias'])


def test_frozen_stages():
    model = VGG16(frozen_stages=2)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    free = [n for stage in POSITIONS[2:] for n in stage]
    assert trainable == {f'features.{n}.{kind}' for n in free for kind in ('weight', 'bias')}


@pytest.mark.parametrize('kwargs', [dict(output_stride=32), dict(pool_size=4), dict(out_indices=()),
                                    dict(out_indices=(5,)), dict(frozen_stages=6)])
def test_mistakes(kwargs):
    with pytest.raises(UserError, match='VGG16'):
        VGG16(**kwargs)
