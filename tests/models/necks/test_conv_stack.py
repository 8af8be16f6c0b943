import pytest
import torch
import torch.nn.functional as F

from mmwsss.models.necks import ConvStack
from mmwsss.registry import MODELS


@torch.no_grad()
def test_equals_the_reference():
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='ConvStack', in_channels=4, layers=((6, 3, 5), (7, 1, 1)), pool=True,
                             dropout_ratio=0.5, in_index=0)).eval()
    neck.init_weights()
    feats = torch.randn(2, 4, 9, 8), torch.randn(2, 3, 5, 4)
    first, second = (m for m in neck.layers if isinstance(m, torch.nn.Conv2d))
    x = F.avg_pool2d(F.max_pool2d(feats[0], 3, 1, 1), 3, 1, 1)
    x = F.conv2d(x, first.weight, first.bias, padding=5, dilation=5).relu()
    x = F.conv2d(x, second.weight, second.bias).relu()
    one, other, result = neck(feats)
    assert one is feats[0] and other is feats[1]
    torch.testing.assert_close(result, x)


def test_dropout_drops_channels_in_training():
    torch.manual_seed(0)
    neck = ConvStack(4, ((64, 1, 1),), dropout_ratio=0.5).train()
    result = neck((torch.rand(1, 4, 3, 3) + 1,))[-1][0]
    dropped = (result == 0).flatten(1).all(dim=1)
    kept = (neck.eval()((torch.ones(1, 4, 3, 3),))[-1][0] > 0).flatten(1).any(dim=1)
    assert 0 < int((dropped & kept).sum()) < int(kept.sum())


@pytest.mark.parametrize('kernel', [2, 4])
def test_even_kernels_would_change_the_size(kernel):
    with pytest.raises(ValueError, match=f'must be odd.* got {kernel}'):
        ConvStack(4, ((6, 3, 1), (6, kernel, 1)))


def test_needs_layers():
    with pytest.raises(ValueError, match='at least one'):
        ConvStack(4, ())
