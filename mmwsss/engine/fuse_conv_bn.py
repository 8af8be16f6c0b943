"""Folding BatchNorms into the convolutions before them, for inference."""
from mmcv.cnn import fuse_conv_bn as mmcv_fuse_conv_bn
from mmseg.models.backbones import ResNet
from torch import nn

from mmwsss.models.backbones import EfficientNetLite
from mmwsss.models.backbones.cached_backbone import cached_modules

# mmcv pairs a BatchNorm with the convolution that was registered before it. In these backbones that is the one whose
# output it takes; in a pre-activation network such as ResNet38 it is not.
FUSIBLE = (ResNet, EfficientNetLite)


def fuse_conv_bn(model: nn.Module) -> int:
    """Folds every BatchNorm of a model's backbones into the convolution before it, in place.

    The maps are the same up to rounding, the passes over memory fewer. The model cannot be trained any more, and its
    state dict has other keys.

    Args:
        model: A model in eval mode with its final weights.

    Returns:
        How many BatchNorms are gone; backbones other than :data:`FUSIBLE` and those whose features are cached stay as
        they are.

    Raises:
        ValueError: If the model is in training mode, where a BatchNorm normalises by its batch.
    """
    if model.training:
        raise ValueError('fuse_conv_bn: the model is in training mode; call eval() first')
    before, cached = _count(model), cached_modules(model)
    for module in list(model.modules()):
        if isinstance(module, FUSIBLE) and module not in cached:
            mmcv_fuse_conv_bn(module)
    return before - _count(model)


def _count(model: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
