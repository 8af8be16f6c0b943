"""Files that are either whole or not there."""
import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank

from mmwsss.utils.errors import UserError

# Seconds that a temporary file of another machine must not have changed before it counts as left by a dead process.
# Writing one takes seconds, of a large checkpoint minutes; the rest is for machines whose clocks differ.
FOREIGN_LEFTOVER_AGE = 24 * 3600


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` and renames it to ``path`` at the end.

    The temporary name is this process's own (rank, pid and :func:`pid_scope`), so several writers of one file
    do not meet. When the body raises, the temporary file is removed and ``path`` stays as it was. What killed
    processes have left in its folder goes when a process writes its first file there, see :func:`remove_leftovers`:
    a command that was killed and is run again leaves nothing. ``OSError.filename`` of a failed write names ``path``.

    Args:
        path: The file to write. Its folder must exist.

    Yields:
        The temporary path; it keeps the suffix of ``path``.
    """
    path = Path(path)
    _remove_leftovers_once(path.parent.absolute(), os.getpid())
    temporary = path.with_name(f'.{path.stem}.{get_rank()}-{os.getpid()}-{pid_scope()}.tmp{path.suffix}')
    try:
        yield temporary
        # Without this a power cut after the rename can leave an empty file under the final name.
        with open(temporary, 'rb') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # not to hide the first error by one of the same folder
            temporary.unlink(missing_ok=True)


@functools.cache
def pid_scope() -> str:
    """Returns 8 hex digits for where a pid means one process: this boot of this machine, in this container.

    Machines and containers that share a disk have the same pids, and containers may share a host name.
    """
    try:
        scope = Path('/proc/sys/kernel/random/boot_id').read_text() + os.readlink('/proc/self/ns/pid')
    except OSError:  # not Linux
        scope = platform.node()
    return hashlib.sha256(scope.encode()).hexdigest()[:8]


_TEMPORARY_NAME = re.compile(r'\..+\.\d+-(?P<pid>\d+)-(?P<scope>[0-9a-f]{8})\.tmp(?:\.[^.]*)?')


def remove_leftovers(folder: str | os.PathLike, recursive: bool = False) -> list[Path]:
    """Removes the temporary files that killed processes have left in a folder.

    Only names that :func:`atomic_path` gives are looked at. A file of this machine and container goes when its
    process is dead. One of another (or from before a reboot) goes when it has not changed for
    :data:`FOREIGN_LEFTOVER_AGE`, as its process cannot be asked. So the file of a process that is writing stays.
    Several processes may call it at the same time.

    Args:
        folder: The folder; it need not exist.
        recursive: Whether folders below it are looked at too. Links to folders are not followed.

    Returns:
        The files removed.
    """
    removed = []
    for parent, folders, names in os.walk(folder):
        if not recursive:
            folders.clear()
        for name in names:
            match = _TEMPORARY_NAME.fullmatch(name)
            path = Path(parent, name)
            if match and _is_left(path, int(match['pid']), match['scope']):
                with contextlib.suppress(PermissionError, FileNotFoundError):  # another user's; removed meanwhile
                    path.unlink()
                    removed.append(path)
    return removed


@functools.cache
def _remove_leftovers_once(folder: Path, pid: int) -> None:
    """Removes leftovers in a folder; once, since listing a folder for every file of thousands takes minutes.

    Args:
        folder: The folder, an absolute path.
        pid: Of this process: one that was forked looks for itself.
    """
    remove_leftovers(folder)


def _is_left(path: Path, pid: int, scope: str) -> bool:
    if scope == pid_scope():
        return not _is_alive(pid)
    try:
        return time.time() - path.lstat().st_mtime > FOREIGN_LEFTOVER_AGE
    except FileNotFoundError:  # its process has finished it meanwhile
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def naming_errors(path: str | os.PathLike) -> Iterator[None]:
    """Gives an ``OSError`` of the body that names no file the name ``path``: a disk that is full is then named."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def nearest_existing(path: str | os.PathLike) -> Path:
    """Returns the path itself if it is there, otherwise the nearest folder above it that is."""
    path = Path(path)
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def check_output_file(path: str | os.PathLike) -> None:
    """Refuses a file that cannot be written, before the work whose result it is to hold; nothing is made.

    Args:
        path: The file. Its folder need not exist.

    Raises:
        UserError: If it is a folder, or lies below a file or in a folder without permission to write.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f'{path}: is a folder; name a file in it')
    parent = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not parent.is_dir():
        raise UserError(f'{path}: cannot be written, as {parent} is no folder; choose another place')
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f'{path}: cannot be written, as {parent} is closed to you; choose another place')


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes ``data`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
    """Writes ``lines`` to ``path`` atomically, each with a line feed after it."""
    write_bytes(path, ''.join(f'{line}\n' for line in lines).encode())


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes ``value`` as indented json with sorted keys to ``path`` atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    write_bytes(path, (text + '\n').encode())


def sha256_of_file(path: str | os.PathLike) -> str:
    """Returns the hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """Returns the hex sha256 of ``value`` as canonical json (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(',', ':'), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_text(path: str | os.PathLike) -> str:
    """Returns a UTF-8 text file without its byte order mark.

    Raises:
        UserError: If the file is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not UTF-8 text (byte {error.start}); save it as UTF-8') from error
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path') from error


def read_json(path: str | os.PathLike) -> Any:
    """Returns the content of a json file, or ``None`` when the file is not there."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        return None
