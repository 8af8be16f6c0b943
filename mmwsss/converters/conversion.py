"""Checkpoints of original repositories become ours, and every key is accounted for."""
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmwsss.engine.checkpoint import extract_state_dict, load_checkpoint_file
from mmwsss.models.classifiers.base_cam_model import BaseCAMModel
from mmwsss.utils.errors import UserError

# No layer has more; the sizes in a damaged file may be anything.
MAX_ROWS = 2**16


def load_torch_weights(path: Path) -> dict[str, Tensor]:
    """Returns the state dict in a checkpoint of PyTorch, without the prefix of ``DataParallel``."""
    return extract_state_dict(load_checkpoint_file(path), path)


@dataclass(frozen=True)
class Source:
    """A kind of original checkpoint.

    Attributes:
        title: What it is, for messages.
        build: Builds our model for it. Its argument gives the number of rows (output channels) that the weight of an
            original's key has in our model.
        key_of: Our key -> the original's key.
        canonical: Key of the original -> the one that :attr:`key_of` knows, for modules that the original registers
            under several names. Other keys stay as they are.
        left_out: Key of the original that our model does not need -> why.
        left_out_rows: Key of the original -> (number of first rows that our model does not need, why).
        load: File -> weights.
        prepare: What is done to the weights before they are mapped.
        meta: What the checkpoint says of itself. ``images`` in it (``mean``, ``std``, ``bgr_to_rgb``) is how images are
            normalised.
        stem: Our key of the convolution that sees the image, where the order of its channels may be turned round.
    """

    title: str
    build: Callable[[Callable[[str], int]], nn.Module]
    key_of: Callable[[str], str]
    canonical: Callable[[str], str] = str
    left_out: Mapping[str, str] = field(default_factory=dict)
    left_out_rows: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    load: Callable[[Path], dict[str, Tensor]] = load_torch_weights
    prepare: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    meta: Mapping[str, Any] = field(default_factory=dict)
    stem: str | None = None


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint.

    Attributes:
        state_dict: All weights of our model.
        mapped: Key of the original -> our key.
        aliases: Key of the original -> the mapped key that holds the same values.
        left_out: Key of the original -> why it is not used.
        left_out_rows: Mapped key -> (number of first rows that are not used, why).
        zeros: Our ``num_batches_tracked`` that the original lacks (files of MXNet, and from before PyTorch 0.4.1).
        num_classes: Number of foreground classes C; ``None`` for a backbone.
    """

    state_dict: OrderedDict[str, Tensor]
    mapped: dict[str, str]
    aliases: dict[str, str]
    left_out: dict[str, str]
    left_out_rows: dict[str, tuple[int, str]]
    zeros: tuple[str, ...]
    num_classes: int | None


def convert(source: Source, weights: Mapping[str, Tensor], name: Path) -> Conversion:
    """Gives the weights of an original checkpoint the keys of our model.

    Every key of our model gets its values; every key of the original is mapped, or an alias that holds the same
    values, or left out for a stated reason.

    Args:
        source: What the checkpoint is.
        weights: Its state dict. The result shares its memory where possible.
        name: The file it came from, for errors.

    Returns:
        The weights and the account of all keys.

    Raises:
        UserError: If a key is missing, unexpected, of another shape or type, or an alias with other values.
    """
    faults = _Faults(source, name)
    faults.add('that hold no dense tensor', (key for key, value in weights.items() if not _is_dense(value)))
    faults.raise_any()
    weights = source.prepare(weights)
    with torch.device('meta'):
        model = source.build(lambda key: _num_rows(weights, key, faults))
    state_dict, mapped, zeros = OrderedDict(), {}, []
    for key, own in model.state_dict().items():
        origin = source.key_of(key)
        if origin in weights:
            mapped[origin] = key
            rows = source.left_out_rows.get(origin, (0, ''))[0]
            expected = (rows + own.shape[0], *own.shape[1:]) if rows else tuple(own.shape)
            value = weights[origin]
            if tuple(value.shape) != expected:
                faults.add('of another shape', [f'{origin} {tuple(value.shape)} instead of {expected}'])
            elif value.is_floating_point() != own.is_floating_point() or value.is_complex():
                faults.add('of another type', [f'{origin} {value.dtype} instead of {own.dtype}'])
            else:
                state_dict[key] = _whole_storage(value[rows:] if rows else value).to(own.dtype)
        elif key.endswith('num_batches_tracked'):
            state_dict[key] = torch.zeros(own.shape, dtype=own.dtype)
            zeros.append(key)
        else:
            faults.add('missing', [origin])
    aliases, left_out = {}, {}
    for key in (key for key in weights if key not in mapped):
        canonical = source.canonical(key)
        if canonical in mapped:
            aliases[key] = canonical
            if not _are_same(weights[key], weights[canonical]):
                faults.add('with other values than the one of the same module', [f'{key}: {canonical}'])
        elif key in source.left_out:
            left_out[key] = source.left_out[key]
        else:
            faults.add('unexpected', [key])
    faults.raise_any()
    return Conversion(
        state_dict, mapped, aliases, left_out,
        {key: rows for key, rows in source.left_out_rows.items() if key in mapped}, tuple(zeros),
        model.num_classes if isinstance(model, BaseCAMModel) else None)


class _Faults:
    """Collects what is wrong with a checkpoint, to say it in one line."""

    def __init__(self, source: Source, name: Path) -> None:
        self.source = source
        self.name = name
        self.keys: dict[str, list[str]] = {}

    def add(self, what: str, keys: Iterable[str]) -> None:
        self.keys.setdefault(what, []).extend(keys)

    def raise_any(self) -> None:
        parts = [f'{len(keys)} {"key" if len(keys) == 1 else "keys"} {what} '
                 f'({", ".join(keys[:3])}{", ..." if len(keys) > 3 else ""})'
                 for what, keys in self.keys.items() if keys]
        if parts:
            raise UserError(f'{self.name}: {", ".join(parts)}; this is not {self.source.title}, or it is damaged')


def _num_rows(weights: Mapping[str, Tensor], key: str, faults: _Faults) -> int:
    if key not in weights:
        faults.add('missing', [key])
        faults.raise_any()
    shape = tuple(weights[key].shape)
    rows = shape[0] - faults.source.left_out_rows.get(key, (0, ''))[0] if shape else 0
    if not 1 <= rows <= MAX_ROWS:
        faults.add('of an impossible shape', [f'{key} {shape}'])
        faults.raise_any()
    return rows


def _is_dense(value: object) -> bool:
    # Behind a tensor there may be less memory than it has values (torch.Tensor.expand): a copy could be of any size.
    return (isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == 'cpu'
            and not value.is_nested and value.untyped_storage().nbytes() >= value.numel() * value.element_size())


def _whole_storage(value: Tensor) -> Tensor:
    # To save a part of a tensor is to save the whole tensor.
    whole = value.is_contiguous() and value.untyped_storage().nbytes() == value.numel() * value.element_size()
    return value.detach() if whole else value.detach().clone(memory_format=torch.contiguous_format)


def _are_same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return (a.data_ptr() == b.data_ptr() and a.stride() == b.stride()) or torch.equal(a, b)
