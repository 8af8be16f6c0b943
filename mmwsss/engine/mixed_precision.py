"""Mixed precision on whatever device the model is."""
import contextlib
import logging

import torch
from mmengine.logging import print_log
from torch import nn

from mmwsss.models.backbones.cached_backbone import cached_modules
from mmwsss.utils.cpu import computes_bfloat16
from mmwsss.utils.errors import UserError

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


def autocast(model: nn.Module, dtype: str | None) -> contextlib.AbstractContextManager:
    """Returns a context in which a model runs in mixed precision.

    Args:
        model: Its first parameter tells the device.
        dtype: ``'bfloat16'``, ``'float16'`` (GPUs only) or ``None`` for full precision.

    Returns:
        :class:`torch.autocast` for the device, or a context that does nothing.

    Raises:
        UserError: For another ``dtype``, or one that the device cannot do.
    """
    if dtype is None:
        return contextlib.nullcontext()
    if dtype not in DTYPES:
        raise UserError(f'amp={dtype!r}: mixed precision is one of {", ".join(DTYPES)}, or None')
    device = next(model.parameters()).device.type
    if device == 'cpu' and dtype == 'float16':
        raise UserError("amp='float16' needs a GPU; set 'bfloat16' on CPUs")
    if device == 'cuda' and dtype == 'bfloat16' and not torch.cuda.is_bf16_supported():
        raise UserError("amp='bfloat16': this GPU cannot do it; set 'float16' (for training with AmpOptimWrapper)")
    return torch.autocast(device_type=device, dtype=DTYPES[dtype])


def warn_of_slow_amp(name: str) -> bool:
    """Warns where mixed precision is slower than none: on a processor that does not compute with bfloat16.

    Args:
        name: What asked for it, for the warning.

    Returns:
        Whether it warned.
    """
    if torch.cuda.is_available() or computes_bfloat16() is not False:
        return False
    print_log(f'{name}: this processor does not compute with bfloat16, which torch then emulates: a training step took '
              '7 times as long as without it, making CAMs 20 times; leave it out', 'current', level=logging.WARNING)
    return True


def cast_backbone_weights(model: nn.Module, dtype: str | None) -> int:
    """Rounds the weights of the convolutions in a model's backbones to the type of mixed precision, in place.

    Autocast does it again in every forward pass, which takes as long as a small image. The results are the same to
    the last bit. The model can then be used in this precision only, and not be trained.

    Args:
        model: A model in eval mode with its final weights; its backbones are the modules named ``backbone``.
            Those whose features are cached compute in full precision, and stay as they are.
        dtype: See :func:`autocast`; ``None``: nothing is done.

    Returns:
        How many convolutions were cast.

    Raises:
        ValueError: If the model is in training mode.
    """
    if dtype is None:
        return 0
    if model.training:
        raise ValueError('cast_backbone_weights: the model is in training mode; call eval() first')
    backbones = [module for name, module in model.named_modules(remove_duplicate=False)
                 if name.rpartition('.')[2] == 'backbone']
    convolutions = {module for backbone in backbones for module in backbone.modules()
                    if isinstance(module, nn.modules.conv._ConvNd)}
    convolutions -= cached_modules(model)
    for module in convolutions:
        module.to(DTYPES[dtype])
    return len(convolutions)
