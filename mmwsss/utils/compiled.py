"""Loops compiled by numba; without numba this cannot be imported."""
from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Compiles a function at its first call; the result is kept in numba's cache, and runs without Python's lock."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # there is no folder that numba may write to: compiled anew by every process
        return njit(nogil=True)(function)
