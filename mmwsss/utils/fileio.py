"""Files that are either whole or not there."""
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` and renames it to ``path`` at the end.

    The temporary name is this process's own (rank and pid), so several writers of one file do
    not meet. When the body raises, the temporary file is removed and ``path`` stays as it was.
    ``OSError.filename`` of a failed write names ``path``.

    Args:
        path: The file to write. Its folder must exist.

    Yields:
        The temporary path; it keeps the suffix of ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.stem}.{get_rank()}-{os.getpid()}.tmp{path.suffix}')
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


@contextlib.contextmanager
def naming_errors(path: str | os.PathLike) -> Iterator[None]:
    """Gives an ``OSError`` of the body that names no file the name ``path``: a disk that is full is then named."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes ``data`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


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


def read_json(path: str | os.PathLike) -> Any:
    """Returns the content of a json file, or ``None`` when the file is not there."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        return None
