"""Decodes every file of a data set once, before anything is computed from it.

One bad image in ten thousand must not end a run of hours, nor may half an image be trained on: OpenCV fills what
is missing of a truncated JPEG with grey (before version 5) and goes on.
"""
import contextlib
import dataclasses
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import PIL
from mmengine.logging import print_log

from mmwsss.datasets.transforms.loading import read_saliency
from mmwsss.structures.image_file import FileCheck, check_image
from mmwsss.structures.label_file import IGNORE, read_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import sha256_of_json, write_bytes
from mmwsss.utils.parallel import default_num_workers, progress_bar

CACHE_VARIABLE = 'MMWSSS_CACHE'
DEFAULT_CACHE = '~/.cache/mmwsss/preflight'
# What can be decoded depends on the decoders, so entries of other versions do not count.
CACHE_FORMAT = f'2 cv2 {cv2.__version__} PIL {PIL.__version__}'
_warned_folders: set[str] = set()


def check_mask(path: str) -> FileCheck:
    """Reads a segmentation mask. Returns its size and ids, or why it is unusable."""
    return _check_map(path, read_label)


def check_saliency(path: str) -> FileCheck:
    """Reads a saliency map. Returns its size and its largest value, or why it is unusable."""
    check = _check_map(path, read_saliency)
    return dataclasses.replace(check, ids=check.ids[-1:])


def _check_map(path: str, read: Callable[[str], np.ndarray]) -> FileCheck:
    try:
        values = read(path)
    except UserError as error:
        # An error of the disk has a number, one of the decoder has not.
        lasting = getattr(error.__cause__, 'errno', None) is None and not isinstance(error.__cause__, MemoryError)
        return FileCheck(reason=str(error).removeprefix(f'{path}: '), lasting=lasting)
    ids = np.flatnonzero(np.bincount(values.ravel())).tolist()
    return FileCheck(*values.shape, ids=tuple(ids))


CHECKS: dict[str, Callable[[str], FileCheck]] = {
    'image': check_image, 'mask': check_mask, 'saliency map': check_saliency}


def check_files(paths: Sequence[str], kind: str) -> dict[str, FileCheck]:
    """Decodes files once, in threads; what is known from an earlier run and unchanged is not decoded again.

    Results are kept in one json file per list of paths in the folder that the environment variable
    ``MMWSSS_CACHE`` names (default ``~/.cache/mmwsss/preflight``), each with size and mtime of its file.

    Args:
        paths: The files.
        kind: Key of :data:`CHECKS`.

    Returns:
        Path -> what decoding showed.
    """
    absolute = {path: os.path.abspath(path) for path in paths}
    cache_path = _cache_path(sorted(absolute.values()), kind)
    cache = _read_cache(cache_path)
    stamps = {path: _stamp(path) for path in paths}
    known = {path: cache[absolute[path]][1] for path in paths
             if absolute[path] in cache and cache[absolute[path]][0] == stamps[path]}
    unknown = [path for path in dict.fromkeys(paths) if path not in known]
    if unknown:
        known.update(zip(unknown, _decode_all(unknown, kind)))
        _write_cache(cache_path, {absolute[path]: (stamps[path], check) for path, check in known.items()
                                  if check.lasting and stamps[path] is not None})
    return {path: known[path] for path in absolute}


def preflight(img_paths: Sequence[str], mask_paths: Sequence[str | None] | None = None,
              saliency_paths: Sequence[str | None] | None = None, num_classes: int | None = None,
              ) -> list[tuple[int, int] | str]:
    """Says for each image whether it can be used.

    Args:
        img_paths: Images.
        mask_paths: Their masks, where masks are required; ``None`` in it: there is none.
        saliency_paths: Their saliency maps, likewise.
        num_classes: Number C of foreground classes: ids above C that are not 255 are wrong in a mask.

    Returns:
        For each image (height, width) after EXIF rotation, or the reason why it has to be left out.

    Raises:
        UserError: If no saliency map has a value above 1: they go from 0 to 255.
    """
    images = check_files(img_paths, 'image')
    results: list[tuple[int, int] | str] = [
        images[path].reason or (images[path].height, images[path].width) for path in img_paths]
    for kind, paths in (('mask', mask_paths), ('saliency map', saliency_paths)):
        if paths is None:
            continue
        checks = check_files([path for path in paths if path is not None], kind)
        if kind == 'saliency map' and max((max(check.ids, default=0) for check in checks.values()), default=0) == 1:
            raise UserError(f'{next(iter(checks))}: the saliency maps hold 0 and 1 only; write 255 for what is salient')
        for index, path in enumerate(paths):
            if not isinstance(results[index], str):
                reason = _map_reason(kind, path, checks.get(path), results[index], num_classes)
                results[index] = reason or results[index]
    return results


def _map_reason(kind: str, path: str | None, check: FileCheck | None, size: tuple[int, int],
                num_classes: int | None) -> str:
    if path is None or check is None:
        return f'missing {kind}'
    if check.reason:
        return f'{kind} {path}: {check.reason}'
    if (check.height, check.width) != size:
        return (f'{kind} {path}: is {check.height} x {check.width} (height x width), but the image is '
                f'{size[0]} x {size[1]}')
    wrong = [i for i in check.ids if kind == 'mask' and num_classes is not None and num_classes < i != IGNORE]
    if wrong:
        return f'{kind} {path}: has the id {wrong[-1]}, but there are {num_classes} foreground classes'
    return ''


def _decode_all(paths: list[str], kind: str) -> list[FileCheck]:
    executor = ThreadPoolExecutor(min(32, max(4, 2 * default_num_workers())))  # disks have latency
    with _quiet_opencv(), progress_bar(transient=True) as progress:
        try:
            found = executor.map(CHECKS[kind], paths)
            return list(progress.track(found, len(paths), description=f'checking every {kind}'))
        finally:
            executor.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the remaining files


_log_level_lock = threading.Lock()


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    # OpenCV reports each damaged file on stderr; the reason is in our own list.
    with _log_level_lock:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(level)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _cache_path(paths: list[str], kind: str) -> Path:
    folder = os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE
    return Path(os.path.expanduser(folder)) / f'{kind.split()[0]}-{sha256_of_json(paths)[:32]}.json'


def _read_cache(path: Path) -> dict[str, tuple[tuple[int, int] | None, FileCheck]]:
    try:
        content = json.loads(path.read_bytes())
        if content['format'] != CACHE_FORMAT:
            return {}
        return {name: ((int(size), int(mtime)), FileCheck(int(height), int(width), tuple(map(int, ids)), str(reason)))
                for name, (size, mtime, height, width, ids, reason) in content['files'].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # no cache, or a damaged one: everything is decoded again


def _write_cache(path: Path, entries: dict[str, tuple[tuple[int, int] | None, FileCheck]]) -> None:
    files = {name: [*stamp, check.height, check.width, check.ids, check.reason]
             for name, (stamp, check) in entries.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps({'format': CACHE_FORMAT, 'files': files}).encode())
    except OSError as error:
        if str(path.parent) not in _warned_folders:
            _warned_folders.add(str(path.parent))
            print_log(f'{path.parent}: cannot be written ({error.strerror}), so every file is checked again in the '
                      f'next run; name another folder in {CACHE_VARIABLE}', 'current', level=logging.WARNING)
