"""A convolution and its BatchNorm in one pass."""
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.utils.autocast import is_autocast


def conv_norm(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Computes ``norm(conv(x))``, in one pass where the normalisation is a constant.

    With fixed statistics and parameters BatchNorm scales and shifts each channel; a convolution with scaled weights,
    and the shift as bias, does that on its way (``tools/benchmark/backbone_step.py`` says what it gains). In mixed
    precision the norm stays on its own: there the scaled weights would be rounded, and weights that were cast
    (:func:`mmwsss.engine.mixed_precision.cast_backbone_weights`) twice. So does a norm
    with hooks, which would not be called, and any norm while a model is traced, as for an ONNX file.

    Args:
        conv: A convolution without bias.
        norm: Its BatchNorm, or what :mod:`mmwsss.engine.fuse_conv_bn` has left of it.
        x: N x C x h x w.

    Returns:
        N x channels of the norm x h' x w'.
    """
    # functional_call cannot be traced.
    if (torch.jit.is_tracing() or not _is_constant(norm) or is_autocast(x.device)
            or conv.weight.dtype != norm.weight.dtype):
        return norm(conv(x))
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    folded = dict(weight=conv.weight * scale[:, None, None, None], bias=norm.bias - norm.running_mean * scale)
    return torch.func.functional_call(conv, folded, (x,))


def _is_constant(norm: nn.Module) -> bool:
    is_trained = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in norm.parameters())
    is_watched = norm._forward_pre_hooks or norm._forward_hooks
    return isinstance(norm, _BatchNorm) and not norm.training and not is_trained and not is_watched
