"""Decodes every file of a data set once, before anything is computed from it.

One bad image in ten thousand must not end a run of hours, nor may half an image be trained on: OpenCV fills what
is missing of a truncated JPEG with grey (before version 5) and goes on.
"""
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import PIL

from mmwsss.datasets.file_cache import cached
from mmwsss.datasets.mask_checks import check_not_binary
from mmwsss.datasets.transforms.loading import read_saliency
from mmwsss.structures.image_file import FileCheck, check_image
from mmwsss.structures.label_file import IGNORE, read_label
from mmwsss.structures.mask_values import parse_mask_values
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import sha256_of_json
from mmwsss.utils.parallel import default_num_workers, progress_bar

# What can be decoded depends on the decoders, so entries of other versions do not count.
CACHE_FORMAT = f'3 cv2 {cv2.__version__} PIL {PIL.__version__}'


def check_mask(path: str, mask_values: Mapping[Any, int] | None = None) -> FileCheck:
    """Reads a segmentation mask. Returns its size and ids, or why it is unusable."""
    return _check_map(path, functools.partial(read_label, mask_values=mask_values))


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


EXIF_HINT = (' when it is turned as its EXIF orientation says, which was not done with the map; turn the map too, or '
             'read the images as they are stored: mmwsss convert exif')
CHECKS: dict[str, Callable[[str], FileCheck]] = {
    'image': check_image, 'mask': check_mask, 'saliency map': check_saliency}


def check_files(paths: Sequence[str], kind: str, mask_values: Mapping[Any, int] | None = None) -> dict[str, FileCheck]:
    """Decodes files once, in threads; what is known from an earlier run and unchanged is not decoded again.

    See :func:`mmwsss.datasets.file_cache.cached` for where results are kept.

    Args:
        paths: The files.
        kind: Key of :data:`CHECKS`.
        mask_values: For masks, see :func:`mmwsss.structures.label_file.read_label`.

    Returns:
        Path -> what decoding showed.
    """
    check, name = CHECKS[kind], kind.split()[0]
    if mask_values is not None:
        values = parse_mask_values(mask_values)
        check = functools.partial(check, mask_values=values)
        name = f'{name}-{sha256_of_json(sorted(values.items()))[:8]}'
    return cached(paths, name, CACHE_FORMAT, lambda unknown: _decode_all(unknown, kind, check), _to_json, _from_json)


def _to_json(check: FileCheck) -> list[Any] | None:
    return [check.height, check.width, check.ids, check.reason, check.turned] if check.lasting else None


def _from_json(values: list[Any]) -> FileCheck:
    height, width, ids, reason, turned = values
    return FileCheck(int(height), int(width), tuple(map(int, ids)), str(reason), turned=bool(turned))


def preflight(img_paths: Sequence[str], mask_paths: Sequence[str | None] | None = None,
              saliency_paths: Sequence[str | None] | None = None, num_classes: int | None = None,
              mask_values: Mapping[Any, int] | None = None) -> list[tuple[int, int] | str]:
    """Says for each image whether it can be used.

    Args:
        img_paths: Images.
        mask_paths: Their masks, where masks are required; ``None`` in it: there is none.
        saliency_paths: Their saliency maps, likewise.
        num_classes: Number C of foreground classes: ids above C that are not 255 are wrong in a mask.
        mask_values: See :func:`mmwsss.structures.label_file.read_label`.

    Returns:
        For each image (height, width) after EXIF rotation, or the reason why it has to be left out.

    Raises:
        UserError: If no saliency map has a value above 1: they go from 0 to 255. If the masks hold nothing but 0 and
            255, see :func:`mmwsss.datasets.mask_checks.check_not_binary`.
    """
    images = check_files(img_paths, 'image')
    results: list[tuple[int, int] | str] = [
        images[path].reason or (images[path].height, images[path].width) for path in img_paths]
    for kind, paths in (('mask', mask_paths), ('saliency map', saliency_paths)):
        if paths is None:
            continue
        checks = check_files([path for path in paths if path is not None], kind,
                             mask_values if kind == 'mask' else None)
        if kind == 'mask':
            check_not_binary({path: check.ids for path, check in checks.items() if not check.reason})
        if kind == 'saliency map':
            _check_not_0_and_1(checks)
        for index, path in enumerate(paths):
            if not isinstance(results[index], str):
                reason = _map_reason(kind, path, checks.get(path), results[index], num_classes,
                                     images[img_paths[index]].turned)
                results[index] = reason or results[index]
    return results


def check_saliency_values(paths: Sequence[str]) -> None:
    """Refuses saliency maps of 0 and 1, of which nothing would be salient.

    Args:
        paths: All maps that will be read; files that cannot be decoded are left to who reads them.

    Raises:
        UserError: If 1 is the largest value of all.
    """
    _check_not_0_and_1(check_files(paths, 'saliency map'))


def _check_not_0_and_1(checks: Mapping[str, FileCheck]) -> None:
    if max((max(check.ids, default=0) for check in checks.values()), default=0) == 1:
        raise UserError(f'{next(iter(checks))}: the saliency maps hold 0 and 1 only; write 255 for what is salient')


def _map_reason(kind: str, path: str | None, check: FileCheck | None, size: tuple[int, int],
                num_classes: int | None, turned: bool) -> str:
    if path is None or check is None:
        return f'missing {kind}'
    if check.reason:
        return f'{kind} {path}: {check.reason}'
    if (check.height, check.width) != size:
        is_stored = turned and (check.width, check.height) == size
        return (f'{kind} {path}: is {check.height} x {check.width} (height x width), but the image is '
                f'{size[0]} x {size[1]}{EXIF_HINT if is_stored else ""}')
    wrong = [i for i in check.ids if kind == 'mask' and num_classes is not None and num_classes < i != IGNORE]
    if wrong:
        return f'{kind} {path}: has the id {wrong[-1]}, but there are {num_classes} foreground classes'
    return ''


def _decode_all(paths: list[str], kind: str, check: Callable[[str], FileCheck]) -> list[FileCheck]:
    executor = ThreadPoolExecutor(min(32, max(4, 2 * default_num_workers())))  # disks have latency
    with _quiet_opencv(), progress_bar(transient=True) as progress:
        try:
            found = executor.map(check, paths)
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
