"""Precision of tensors inside and outside of mixed precision."""
import contextlib

import torch
from torch import Tensor


def is_autocast(device: torch.device) -> bool:
    """Returns whether operations on a device run in mixed precision here."""
    return device.type != 'meta' and torch.is_autocast_enabled(device.type)  # which does not know meta


def no_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """Returns a context in which operations keep the precision of their inputs, even within mixed precision."""
    if device.type == 'meta':  # shapes without values: autocast does not know it
        return contextlib.nullcontext()
    return torch.autocast(device_type=device.type, enabled=False)


def at_least_float32(maps: Tensor) -> Tensor:
    """Returns a tensor in float32, or as it is where it is more precise."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))
