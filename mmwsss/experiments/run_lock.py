"""Keeps a second run out of a work folder while one is at work there."""
import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from mmwsss.datasets import on_rank_zero
from mmwsss.utils.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where two runs are not told apart
    fcntl = None

LOCK = 'run.lock'
# What the locks of this process are open as.
_descriptors: set[int] = set()


class RunLock:
    """The lock of a work folder, which the operating system takes back when the process ends, however it ends.

    The file stays: who deletes a lock's file may delete another run's. Where a file system has no locks, two runs are
    not told apart.

    Args:
        folder: The work folder; it is made when the lock is taken.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._descriptor: int | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock while the block lasts; a block within such a block changes nothing.

        All ranks of a distributed run call it: the first one takes the lock, for all of them.

        Raises:
            UserError: On every rank, if another run has it.
        """
        is_outermost = on_rank_zero(self._take)
        try:
            yield
        finally:
            if is_outermost:
                self._release()

    def _take(self) -> bool:
        if self._descriptor is not None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return False
        # Python leaves it to no program that is started; _close_in_child sees to processes that are forked.
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 1000, 0).decode(errors='replace').strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return False  # a file system without locks
            raise UserError(f'{self.folder}: another run{f" ({holder})" if holder else ""} is at work there; wait for '
                            'it, or choose another --work-dir') from error
        self._descriptor = descriptor
        _descriptors.add(descriptor)
        with contextlib.suppress(OSError):  # such as a full disk: it is for the message of a second run only
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f'process {os.getpid()} on {platform.node()}\n'.encode(), 0)
        return True

    def _release(self) -> None:
        if self._descriptor in _descriptors:  # not so in a forked process, which has closed it
            _descriptors.remove(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None


def _close_in_child() -> None:
    """A data worker that outlives a killed run by a moment must not keep its lock."""
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_close_in_child)
