"""Checkpoints from the network, kept in torch hub's cache."""
import hashlib
import http.client
import socket
import urllib.error
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_rank

from mmwsss.utils.errors import UserError

# Seconds after which a server that does not answer, or stops in the middle of a file, counts as out of reach.
TIMEOUT = 20.
ADVICE = 'download it by other means and give the path of the file'


def fetch(url: str, advice: str = ADVICE) -> Path:
    """Downloads a file into the cache, unless it is there.

    The main process downloads first; a process that does not see its file afterwards (another machine) downloads its
    own.

    Args:
        url: ``http://...`` or ``https://...``.
        advice: What to do if it fails, for the error.

    Returns:
        The file in the cache.

    Raises:
        UserError: If the download fails, or the server says nothing for :data:`TIMEOUT` seconds.
    """
    path = Path(torch.hub.get_dir(), 'checkpoints', _cached_name(url))
    if get_rank() == 0:
        _download(url, path, advice)
    barrier()
    _download(url, path, advice)
    return path


def _cached_name(url: str) -> str:
    # Different servers have files of one name (model.pth, latest.pth).
    name = PurePosixPath(urlparse(url).path)
    return f'{name.stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}{name.suffix}'


def _download(url: str, path: Path, advice: str) -> None:
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # torch names none, and a network that drops packets answers never
    try:
        # Writes to a temporary name and renames it.
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise UserError(f'{url}: cannot be downloaded ({error}); {advice}') from error
    finally:
        socket.setdefaulttimeout(before)
