"""Turning what MMEngine puts into checkpoints into tensors and built-in types, and back.

MMEngine saves ``HistoryBuffer`` objects, numpy scalars and arrays. ``torch.load(weights_only=True)`` rightly
refuses those. They are replaced by numbers, strings, tensors and dicts of them; an object that has to come
back as what it was becomes ``{KIND: <kind>, ...}``.
"""
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

KIND = '__mmwsss_kind__'
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype)


class NotPlainError(TypeError):
    """A value that has no plain form; the message names where it stands."""


def to_plain(value: Any, where: str = 'checkpoint') -> Any:
    """Returns ``value`` as tensors and built-in types.

    Args:
        value: Nested containers (mapping, list, tuple, set) of tensors, Python and numpy scalars, numpy arrays,
            strings, paths, ``HistoryBuffer``. Tensors are not copied.
        where: Name of ``value``, for the error.

    Returns:
        Plain values. Mappings become ``dict`` or stay ``OrderedDict``, named tuples become tuples, numpy
        scalars Python ones, paths strings; :func:`from_plain` gives everything else back.

    Raises:
        NotPlainError: If a value has none of these types.
    """
    if isinstance(value, torch.Tensor) or type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        return to_plain(value.item(), where) if type(value.item()) in _PLAIN else _refuse(value, where)
    if isinstance(value, np.ndarray):
        return {KIND: 'ndarray', 'values': _plain_array(value, where)}
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {KIND: 'HistoryBuffer', 'log': _plain_array(log, where), 'count': _plain_array(count, where),
                'max_length': value.max_length}
    if isinstance(value, Mapping):
        items = [(to_plain(key, where), to_plain(item, f'{where}[{key!r}]')) for key, item in value.items()]
        plain = OrderedDict(items) if isinstance(value, OrderedDict) else dict(items)
        if hasattr(value, '_metadata'):  # the versions of the modules of a state dict
            plain._metadata = to_plain(value._metadata, where)
        return plain
    if isinstance(value, (list, tuple)):
        items = [to_plain(item, f'{where}[{i}]') for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (set, frozenset)):
        return {KIND: 'set', 'values': [to_plain(item, where) for item in value]}
    if isinstance(value, (str, PurePath)):
        return str(value)
    return _refuse(value, where)


def _plain_array(array: np.ndarray, where: str) -> torch.Tensor:
    if array.dtype.kind not in 'biufc' or array.dtype.name not in _TORCH_DTYPES:
        _refuse(array, where)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder('='), order='C'))


_TORCH_DTYPES = ('bool', 'uint8', 'int8', 'int16', 'int32', 'int64', 'float16', 'float32', 'float64', 'complex64',
                 'complex128')


def _refuse(value: Any, where: str) -> None:
    kind = f'{type(value).__name__} of {value.dtype}' if isinstance(value, np.ndarray) else type(value).__name__
    raise NotPlainError(f'{where} is a {kind}, which cannot be saved as tensors and built-in types')


def from_plain(value: Any) -> Any:
    """Undoes :func:`to_plain`.

    Args:
        value: What :func:`to_plain` returned, after saving and loading.

    Returns:
        The same with ``HistoryBuffer``, numpy arrays and sets again.
    """
    if isinstance(value, dict):
        kind = value.get(KIND)
        if kind == 'ndarray':
            return value['values'].cpu().numpy()
        if kind == 'HistoryBuffer':
            return HistoryBuffer(value['log'].cpu().numpy(), value['count'].cpu().numpy(), value['max_length'])
        if kind == 'set':
            return {from_plain(item) for item in value['values']}
        restored = type(value)((key, from_plain(item)) for key, item in value.items())
        if hasattr(value, '_metadata'):
            restored._metadata = value._metadata
        return restored
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(from_plain(item) for item in value)
    return value
