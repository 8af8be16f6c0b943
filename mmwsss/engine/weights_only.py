"""Converts the content of a checkpoint to what ``torch.load(weights_only=True)`` accepts, and back.

MMEngine saves ``HistoryBuffer`` objects, numpy scalars and arrays, which ``weights_only=True`` refuses. They are
replaced by numbers, strings, tensors and dicts of them; an object that must be restored with its type is saved as
``{KIND: <kind>, ...}``.
"""
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

KIND = '__mmwsss_kind__'
_ALLOWED = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype)


class UnsupportedTypeError(TypeError):
    """A value that cannot be saved in this way; the message says where in the checkpoint it is."""


def to_weights_only(value: Any, where: str = 'checkpoint') -> Any:
    """Converts a value to tensors and built-in types.

    Args:
        value: Nested containers (mapping, list, tuple, set) of tensors, Python and numpy scalars, numpy arrays,
            strings, paths, ``HistoryBuffer``. Tensors are not copied.
        where: Name of ``value``, for the error.

    Returns:
        The converted value. Mappings become ``dict`` or stay ``OrderedDict``, named tuples become tuples, numpy
        scalars Python ones, paths strings; :func:`from_weights_only` restores everything else.

    Raises:
        UnsupportedTypeError: If a value has none of these types.
    """
    if isinstance(value, torch.Tensor) or type(value) in _ALLOWED:
        return value
    if isinstance(value, np.generic):
        return to_weights_only(value.item(), where) if type(value.item()) in _ALLOWED else _refuse(value, where)
    if isinstance(value, np.ndarray):
        return {KIND: 'ndarray', 'values': _array_to_tensor(value, where)}
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {KIND: 'HistoryBuffer', 'log': _array_to_tensor(log, where), 'count': _array_to_tensor(count, where),
                'max_length': value.max_length}
    if isinstance(value, Mapping):
        items = [(to_weights_only(key, where), to_weights_only(item, f'{where}[{key!r}]'))
                 for key, item in value.items()]
        result = OrderedDict(items) if isinstance(value, OrderedDict) else dict(items)
        if hasattr(value, '_metadata'):  # the versions of the modules of a state dict
            result._metadata = to_weights_only(value._metadata, where)
        return result
    if isinstance(value, (list, tuple)):
        items = [to_weights_only(item, f'{where}[{i}]') for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (set, frozenset)):
        return {KIND: 'set', 'values': [to_weights_only(item, where) for item in value]}
    if isinstance(value, (str, PurePath)):
        return str(value)
    return _refuse(value, where)


def _array_to_tensor(array: np.ndarray, where: str) -> torch.Tensor:
    if array.dtype.kind not in 'biufc' or array.dtype.name not in _TORCH_DTYPES:
        _refuse(array, where)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder('='), order='C'))


_TORCH_DTYPES = ('bool', 'uint8', 'int8', 'int16', 'int32', 'int64', 'float16', 'float32', 'float64', 'complex64',
                 'complex128')


def _refuse(value: Any, where: str) -> None:
    kind = f'{type(value).__name__} of {value.dtype}' if isinstance(value, np.ndarray) else type(value).__name__
    raise UnsupportedTypeError(f'{where} is a {kind}, which cannot be saved as tensors and built-in types')


def from_weights_only(value: Any) -> Any:
    """Restores the ``HistoryBuffer`` objects, numpy arrays and sets that :func:`to_weights_only` replaced.

    Args:
        value: What :func:`to_weights_only` returned, after saving and loading.
    """
    if isinstance(value, dict):
        kind = value.get(KIND)
        if kind == 'ndarray':
            return value['values'].cpu().numpy()
        if kind == 'HistoryBuffer':
            return HistoryBuffer(value['log'].cpu().numpy(), value['count'].cpu().numpy(), value['max_length'])
        if kind == 'set':
            return {from_weights_only(item) for item in value['values']}
        restored = type(value)((key, from_weights_only(item)) for key, item in value.items())
        if hasattr(value, '_metadata'):
            restored._metadata = value._metadata
        return restored
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(from_weights_only(item) for item in value)
    return value
