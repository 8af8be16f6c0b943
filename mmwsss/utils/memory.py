"""Memory of the C library."""
import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
KEEP, DEFAULT = (-1, 0), (128 * 1024, 65536)  # values of the two
_current, _is_sparing = DEFAULT, False


def keep_freed_memory() -> bool:
    """Makes the C library keep freed memory for the next allocation, in this process.

    By default it maps every large tensor anew and gives it back when it is freed, and the system clears each page of it
    again: on a CPU that is up to half of the time of a forward pass of ResNet50 (measured on two cores, in microseconds
    a pixel: float32 2.5-3.1 without, 1.7-2.0 with; bfloat16 0.9-1.5 without, 0.6-0.9 with). The process then stays
    as large as it once was.

    Returns:
        Whether it was done; only glibc knows these settings, and within :func:`sparing_memory` it is not.
    """
    return not _is_sparing and _set(KEEP)


@contextlib.contextmanager
def sparing_memory() -> Iterator[None]:
    """Undoes :func:`keep_freed_memory` for a while: slower, but a process is no larger than what it holds."""
    global _is_sparing
    before, _is_sparing = _current, True
    _set(DEFAULT)
    try:
        yield
    finally:
        _is_sparing = False
        _set(before)


def _set(values: tuple[int, int]) -> bool:
    global _current
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform.startswith('linux') else None
    if mallopt is None or not all(mallopt(name, value) for name, value in zip((M_TRIM_THRESHOLD, M_MMAP_MAX), values)):
        return False
    _current = values
    return True


def release_memory() -> None:
    """Frees what nothing refers to any more, and gives freed memory back to the system, once.

    For the time between two runs. A Runner of MMEngine and its loops refer to each other: its model would stay until
    the collector comes by itself, and after :func:`keep_freed_memory` its memory for good.
    """
    gc.collect()
    if sys.platform.startswith('linux') and (trim := getattr(ctypes.CDLL(None), 'malloc_trim', None)) is not None:
        trim(0)
