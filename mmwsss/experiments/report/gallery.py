"""The images of a report: a sample, small enough to go into one page."""
import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.evaluation.label_metrics import confusion_matrix, load_mask, scores_from_confusion
from mmwsss.experiments.report.sources import ReportFolder
from mmwsss.structures.cam_file import cam_path, read_cam
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import label_path, read_label
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.utils.parallel import progress_bar

# Pixels of the long side: of an image in the page, and of its CAM.
IMAGE_SIDE, CAM_SIDE = 200, 64
QUALITY = 78
# The page stays below 30 MB, whatever the images: tables, curves and script take less than 1.
MAX_BYTES = 28_000_000
MANY = 3


@dataclass
class Gallery:
    """What the page gets of the images.

    Attributes:
        items: One dict an image, for the script of the page.
        num_images: How many there would be.
        by_count: Rows (number of classes, images, {title: mIoU in percent}) over the sample.
    """
    items: list[dict[str, Any]]
    num_images: int
    by_count: list[tuple[str, int, dict[str, float]]]


def make_gallery(folders: Sequence[ReportFolder], data: DataFolder, num_images: int) -> Gallery:
    """Reads a sample of the images with all their maps.

    Args:
        folders: The work folders.
        data: Their data set; without masks nothing is compared.
        num_images: At most so many images, evenly spread over those of every split that a folder has files of.

    Raises:
        UserError: If a file is damaged or does not fit its image.
    """
    images, masks = data.image_paths(), data.mask_paths()
    stems = [sorted(found & images.keys()) for found in _stems_by_kind(folders)]
    stems = [found for found in stems if found]
    share = max(1, num_images // max(1, len(stems)))
    chosen = list(dict.fromkeys(stem for found in stems for stem in spread(found, share)))[:num_images]
    items, size, counts, number = [], 0, {}, Counter()
    with progress_bar() as progress:
        for stem in progress.track(chosen, description='report'):
            item, confusions = _item(stem, images[stem], masks.get(stem), folders, data)
            size += _size(item)
            if size > MAX_BYTES:
                break
            items.append(item)
            key = min(len(item['classes']), MANY)
            number[key] += bool(confusions)
            for title, confusion in confusions.items():
                counts.setdefault(key, {}).setdefault(title, []).append(confusion)
    by_count = [(str(key) if key < MANY else f'{MANY} or more', number[key], {
        title: 100 * float(scores_from_confusion(sum(confusions))['mIoU']) for title, confusions in found.items()})
        for key, found in sorted(counts.items())]
    return Gallery(items, len(set().union(*stems)), by_count)


def spread(stems: Sequence[str], count: int) -> list[str]:
    """Returns so many of the stems, evenly spread; all if there are no more."""
    count = min(count, len(stems))
    return [stems[i * len(stems) // count] for i in range(count)]


def _stems_by_kind(folders: Sequence[ReportFolder]) -> list[set[str]]:
    """Returns the images that have CAMs or labels, and the others that have predictions."""
    trained, tested = set(), set()
    for folder in folders:
        for output in ([folder.cam.output] if folder.cam else []):
            trained |= _stems(output, '.npz')
        for stage in folder.labels:
            trained |= _stems(stage.output, '.png')
        if folder.test:
            tested |= _stems(folder.test.output, '.png')
    return [trained, tested - trained]


def _stems(folder: Path, suffix: str) -> set[str]:
    return {path.relative_to(folder).as_posix()[:-len(suffix)] for path in folder.rglob(f'*{suffix}')
            if not path.name.startswith('.')}


def _item(stem: str, image_path: str, mask_path: str | None, folders: Sequence[ReportFolder],
          data: DataFolder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    photo, num_classes = read_image(image_path), len(data.classes)
    mask = None if mask_path is None else load_mask(mask_path, photo.shape[:2], num_classes, data.mask_values)
    scale = min(1., IMAGE_SIDE / max(photo.shape[:2]))
    height, width = (max(1, round(scale * side)) for side in photo.shape[:2])
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode('.jpg', small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise UserError(f'{image_path}: cannot be written as JPEG')
    confusions, shown, seen = {}, [], set()
    for folder in folders:
        stages = [*folder.labels, *([folder.test] if folder.test else [])]
        maps = {stage.folder.name: _map(stage.output, stem, photo, mask, num_classes, (height, width))
                for stage in stages}
        for name, (found, confusion) in maps.items():
            if confusion is not None:
                title = name if len(folders) == 1 else f'{folder.name}: {name}'
                confusions[title] = confusion
            if found is not None:
                seen |= set(found.pop('ids'))
        cam = None if folder.cam is None else _cam(cam_path(folder.cam.output, stem), num_classes)
        if cam is not None:
            seen |= {k + 1 for k in cam['classes']}
        shown.append(dict(cam=cam, maps=[maps[stage.folder.name][0] for stage in stages]))
    present = sorted({int(k) for k in np.unique(mask) if 0 < k <= num_classes} if mask is not None else seen - {0})
    item = dict(stem=stem, w=width, h=height, classes=[k - 1 for k in present], photo=_base64(jpeg.tobytes()),
                gt=None if mask is None else encode_map(mask, (height, width)), folders=shown)
    return item, confusions


def _map(folder: Path, stem: str, photo: np.ndarray, mask: np.ndarray | None, num_classes: int,
         size: tuple[int, int]) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    path = label_path(folder, stem)
    if not path.is_file():
        return None, None
    label = read_label(path)
    if label.shape != photo.shape[:2]:
        raise UserError(f'{path}: has size {label.shape} (height, width), but its image has {photo.shape[:2]}; make '
                        'the label again')
    confusion = None if mask is None else confusion_matrix(label, mask, num_classes)
    iou = None if confusion is None else _finite(scores_from_confusion(confusion)['mIoU'])
    ids = [int(k) for k in np.unique(label) if 0 < k <= num_classes]
    return dict(map=encode_map(label, size), iou=iou, ids=ids), confusion


def _cam(path: Path, num_classes: int) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    cam_file = read_cam(path)
    if len(cam_file.classes) and cam_file.classes.max() >= num_classes:
        raise UserError(f'{path}: has class {cam_file.classes.max()}, but there are only {num_classes} classes')
    height, width = cam_file.cam.shape[1:]
    if max(height, width) > CAM_SIDE:
        scale = CAM_SIDE / max(height, width)
        height, width = (max(1, round(scale * side)) for side in (height, width))
    maps = np.asarray(resize_cam(cam_file.cam, (height, width)), np.float32) if len(cam_file.classes) else cam_file.cam
    return dict(classes=cam_file.classes.tolist(), h=height, w=width,
                data=_base64(np.round(255 * np.asarray(maps, np.float32)).astype(np.uint8).tobytes()))


def encode_map(label: np.ndarray, size: tuple[int, int]) -> str:
    """Returns a label map of a size, as base64 of its runs: the label, then the length in groups of 7 bits.

    Args:
        label: uint8 [H, W].
        size: (h, w); the nearest pixel is taken.
    """
    small = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST).ravel()
    starts = np.flatnonzero(np.r_[True, small[1:] != small[:-1]])
    encoded = bytearray()
    for value, length in zip(small[starts].tolist(), np.diff(np.r_[starts, small.size]).tolist()):
        encoded.append(value)
        while length > 127:
            encoded.append(length & 127 | 128)
            length >>= 7
        encoded.append(length)
    return _base64(bytes(encoded))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _size(item: dict[str, Any]) -> int:
    """Returns about how many bytes an image takes in the page."""
    maps = [found['map'] for part in item['folders'] for found in part['maps'] if found]
    cams = [part['cam']['data'] for part in item['folders'] if part['cam']]
    return 300 + len(item['photo']) + len(item['gt'] or '') + sum(len(text) + 60 for text in (*maps, *cams))
