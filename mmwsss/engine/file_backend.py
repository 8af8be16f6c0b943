"""A file backend of MMEngine that never leaves half a file."""
import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from mmwsss.utils.fileio import atomic_path


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """The local disk, written through :func:`mmwsss.utils.fileio.atomic_path`.

    To be named by ``backend_args=dict(backend='atomic')``.
    """

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Writes ``obj`` to ``filepath``, whose folder is made if need be."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(filepath) as temporary:
            temporary.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | os.PathLike, encoding: str = 'utf-8') -> None:
        """Writes ``obj`` to ``filepath``, whose folder is made if need be."""
        self.put(obj.encode(encoding), filepath)
