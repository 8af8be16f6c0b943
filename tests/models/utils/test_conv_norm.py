import pytest
import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import nn

from mmwsss.models.utils.conv_norm import conv_norm

CONVS = {
    'pointwise': lambda: nn.Conv2d(4, 6, 1, bias=False),
    'dilated': lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2, bias=False),
    'depthwise': lambda: nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False),
    'same padding': lambda: Conv2dAdaptivePadding(4, 6, 3, 2, bias=False),
}


def pair(conv, dtype=torch.float64):
    """A convolution and its BatchNorm, with statistics and parameters that are not those of the start."""
    torch.manual_seed(0)
    conv = CONVS[conv]().to(dtype)
    norm = nn.BatchNorm2d(conv.out_channels, eps=1e-3).to(dtype)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 2)
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    return conv, norm.eval().requires_grad_(False), torch.randn(2, 4, 7, 6, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize('conv', CONVS)
def test_equals_one_after_the_other(conv):
    conv, norm, x = pair(conv)
    before = conv.weight.detach().clone()
    expected, found = norm(conv(x)), conv_norm(conv, norm, x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(expected)
    for one, other in zip(*(torch.autograd.grad((out * weights).sum(), (x, conv.weight)) for out in (found, expected))):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert conv.bias is None and torch.equal(conv.weight, before)


def calls_norm(conv, norm, x):
    calls, forward = [], norm.forward  # a hook would change what is done
    norm.forward = lambda *args: calls.append(1) or forward(*args)
    conv_norm(conv, norm, x)
    del norm.forward
    return bool(calls)


def test_only_a_constant_norm_is_folded():
    conv, norm, x = pair('dilated')
    assert not calls_norm(conv, norm, x)
    norm.requires_grad_(True)
    assert calls_norm(conv, norm, x)  # its parameters are trained
    with torch.no_grad():
        assert not calls_norm(conv, norm, x)
    norm.requires_grad_(False).train()
    assert calls_norm(conv, norm, x)  # statistics of the batch


def test_trained_norms_learn():
    conv, norm, x = pair('dilated')
    norm.requires_grad_(True).train()
    before = norm.running_mean.clone()
    conv_norm(conv, norm, x).square().sum().backward()
    assert norm.weight.grad.any() and norm.bias.grad.any() and not torch.equal(norm.running_mean, before)


def test_mixed_precision_is_left_alone():
    conv, norm, x = pair('dilated', torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert calls_norm(conv, norm, x)
        expected = conv_norm(conv, norm, x)
    conv.to(torch.bfloat16)  # as cast_backbone_weights() does
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(conv_norm(conv, norm, x), expected)


def test_a_norm_that_is_gone():
    conv, _, x = pair('dilated')
    with torch.no_grad():
        assert torch.equal(conv_norm(conv, nn.Identity(), x), conv(x))


def test_hooks_of_the_norm_are_called():
    conv, norm, x = pair('dilated')
    seen = []
    handle = norm.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    torch.testing.assert_close(conv_norm(conv, norm, x), norm(conv(x)), rtol=1e-12, atol=1e-12)
    assert len(seen) == 2 and torch.equal(*seen)
    handle.remove()
    conv_norm(conv, norm, x)
    assert len(seen) == 2


def test_it_can_be_traced():
    """As an export to ONNX does."""
    conv, norm, x = pair('dilated')

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = conv, norm

        def forward(self, x):
            return conv_norm(self.conv, self.norm, x)

    with torch.no_grad():
        traced = torch.jit.trace(Block().eval(), x)
        torch.testing.assert_close(traced(x), conv_norm(conv, norm, x), rtol=1e-12, atol=1e-12)
