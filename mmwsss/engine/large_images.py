"""Images that are larger than memory allows, or than a model was trained for, in tests."""
import copy
import errno
import resource
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmwsss.structures.maps import rescale_images

# Between what is estimated and what is there: buffers of convolutions, and what other threads need meanwhile.
MARGIN = 1.5
PROBE_SIDE = 192
_CPU_MESSAGES = ("can't allocate memory", 'not enough memory', 'Cannot allocate memory', 'could not create a memory')


def image_size(batch: dict) -> tuple[int, int]:
    """Returns the largest height and width in a batch, before the preprocessor, as (H, W)."""
    return (max(image.shape[-2] for image in batch['inputs']), max(image.shape[-1] for image in batch['inputs']))


def num_pixels(batch: dict) -> int:
    """Returns the pixels of all images of a batch."""
    return sum(image.shape[-2] * image.shape[-1] for image in batch['inputs'])


def scale_batch(batch: dict, scale: float) -> dict:
    """Rescales the images of a batch that has not been through the preprocessor yet.

    Maps are made for the size that a data sample gives as ``ori_shape``, which stays.

    Args:
        batch: ``inputs``: tensors [3, H, W]; ``data_samples``: their samples.
        scale: Factor of both sides.

    Returns:
        A new batch; its images are float32 in the range of before.
    """
    inputs = [rescale_images(image[None].float(), scale)[0] for image in batch['inputs']]
    samples = [copy.copy(sample) for sample in batch['data_samples']]
    for image, sample in zip(inputs, samples):
        sample.set_metainfo(dict(img_shape=tuple(image.shape[-2:])))
    return dict(batch, inputs=inputs, data_samples=samples)


def limit_side(batch: dict, max_side: int | None) -> dict:
    """Makes images whose longer side is above a limit so much smaller that it is the limit.

    Args:
        batch: See :func:`scale_batch`; images of one size.
        max_side: The limit in pixels; ``None``: there is none.

    Returns:
        The batch itself, or one of smaller images.
    """
    side = max(image_size(batch))
    return batch if max_side is None or side <= max_side else scale_batch(batch, max_side / side)


def split_batch(batch: dict) -> list[dict]:
    """Returns a batch for each image of a batch."""
    return [dict(batch, inputs=[image], data_samples=[sample])
            for image, sample in zip(batch['inputs'], batch['data_samples'])]


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether an error means that there was no memory left, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made and alive, and the most that there were at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func: Callable, types: Sequence[type], args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if self._known.get(id(storage)) is not storage:
                    self._known[id(storage)] = storage
                    self._add(storage.nbytes())
                    weakref.finalize(storage, self._add, -storage.nbytes())
        return result

    def _add(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)


def bytes_per_pixel(predict: Callable[[dict], Any], batch: dict) -> float:
    """Measures how much memory the prediction of an image takes, on a part of one.

    Args:
        predict: Runs the model on a batch.
        batch: See :func:`scale_batch`; a corner of its first image is taken.

    Returns:
        The most bytes of tensors at a time, over the pixels of the corner. Whatever grows with more than the number
        of pixels (affinities of all pixels with all) is underestimated.
    """
    first = split_batch(batch)[0]
    corner = first['inputs'][0][:, :PROBE_SIDE, :PROBE_SIDE].clone()
    sample = copy.deepcopy(first['data_samples'][0])
    sample.set_metainfo(dict(img_shape=tuple(corner.shape[-2:]), ori_shape=tuple(corner.shape[-2:])))
    with _LiveBytes() as counter:
        predict(dict(first, inputs=[corner], data_samples=[sample]))
    return counter.peak / (corner.shape[-2] * corner.shape[-1])


def available_memory(device: torch.device) -> int | None:
    """Returns the bytes that may still be allocated on a device; ``None`` where the system does not tell."""
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != 'cpu':
        return None
    found = [_meminfo('/proc/meminfo', 'MemAvailable'), _cgroup_rest()]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _meminfo('/proc/self/status', 'VmSize')
    if limit != resource.RLIM_INFINITY and used is not None:
        found.append(max(0, limit - used))
    return min((value for value in found if value is not None), default=None)


def _meminfo(path: str, key: str) -> int | None:
    if not Path(path).exists():
        return None
    lines = [line for line in Path(path).read_text().splitlines() if line.startswith(f'{key}:')]
    return int(lines[0].split()[1]) * 1024 if lines else None


def _cgroup_rest(folder: str = '/sys/fs/cgroup') -> int | None:
    # What a container may still take; files in the page cache that can go count as used.
    limit, used = Path(folder, 'memory.max'), Path(folder, 'memory.current')
    if not limit.exists() or not used.exists() or not limit.read_text().strip().isdigit():
        return None
    stat = Path(folder, 'memory.stat')
    cache = [int(line.split()[1]) for line in (stat.read_text().splitlines() if stat.exists() else ())
             if line.startswith('inactive_file ')]
    return max(0, int(limit.read_text()) - int(used.read_text()) + sum(cache))
