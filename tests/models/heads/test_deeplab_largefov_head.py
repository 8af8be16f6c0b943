import pytest
import torch
import torch.nn.functional as F
from test_deeplab_v2_head import dilated_conv

from mmwsss.models.heads import DeepLabLargeFOVHead
from mmwsss.registry import MODELS


@pytest.mark.parametrize('size', [(5, 7), (1, 1)])
def test_equals_its_definition(size):
    torch.manual_seed(0)
    head = DeepLabLargeFOVHead(3, channels=5, dilation=2, num_classes=4).double().eval()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    y = dilated_conv(x, head.fov.conv.weight, head.fov.conv.bias, 2).clamp(min=0)
    y = (torch.einsum('oc,nchw->nohw', head.mix.conv.weight[:, :, 0, 0], y)
         + head.mix.conv.bias[:, None, None]).clamp(min=0)
    expected = (torch.einsum('oc,nchw->nohw', head.conv_seg.weight[:, :, 0, 0], y) + head.conv_seg.bias[:, None, None])
    torch.testing.assert_close(head([x]), expected)


def test_with_batch_norm_there_is_no_bias():
    head = MODELS.build(dict(type='DeepLabLargeFOVHead', in_channels=64, channels=128, num_classes=21,
                             norm_cfg=dict(type='BN'), hidden_dropout_ratio=0.0))
    shapes = {name: tuple(p.shape) for name, p in head.named_parameters()}
    assert shapes == {'conv_seg.weight': (21, 128, 1, 1), 'conv_seg.bias': (21,),
                      'fov.conv.weight': (128, 64, 3, 3), 'fov.bn.weight': (128,), 'fov.bn.bias': (128,),
                      'mix.conv.weight': (128, 128, 1, 1), 'mix.bn.weight': (128,), 'mix.bn.bias': (128,)}
    assert head.fov.conv.dilation == (12, 12)
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.mix.conv.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.1)


def test_dropout_is_of_single_values():
    torch.manual_seed(0)
    head = DeepLabLargeFOVHead(1, channels=1, dilation=1, num_classes=2, dropout_ratio=0.5, hidden_dropout_ratio=0.0)
    for parameter in (head.fov.conv.weight, head.mix.conv.weight, head.conv_seg.weight):
        torch.nn.init.constant_(parameter, 1)
    for bias in (head.fov.conv.bias, head.mix.conv.bias, head.conv_seg.bias):
        torch.nn.init.zeros_(bias)
    x = torch.ones(1, 1, 20, 20)
    inner = head([x])[0, 0, 1:-1, 1:-1]  # 9 where it is kept, times 2
    assert set(inner.unique().tolist()) == {0, 18} and 0.4 < (inner == 0).float().mean() < 0.6
    both = DeepLabLargeFOVHead(1, channels=1, dilation=1, num_classes=2, dropout_ratio=0.5)
    both.load_state_dict(head.state_dict())
    assert 0.65 < (both([x])[0, 0, 1:-1, 1:-1] == 0).float().mean() < 0.85  # a quarter passes both
    assert torch.equal(head.eval()([x]), F.conv2d(x, torch.ones(2, 1, 3, 3), padding=1))


def test_bad_dilation():
    with pytest.raises(ValueError, match='DeepLabLargeFOVHead: dilation'):
        DeepLabLargeFOVHead(3, dilation=0, num_classes=4)
