"""The metadata of clovaai/wsolevaluation: CUBv2, ImageNetV2 and OpenImages30k as a localization set."""
import csv
import io
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.datasets.boxes import check_boxes
from mmwsss.datasets.layout import read_text, stem_of
from mmwsss.datasets.localization_set import LocalizationImage, write_localization_set
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import IGNORE
from mmwsss.utils.errors import UserError


def metadata_to_localization(images_dir: str | os.PathLike, metadata_dir: str | os.PathLike,
                             out_dir: str | os.PathLike, split: str, masks_dir: str | os.PathLike | None = None,
                             copy: bool = False) -> dict[str, Any]:
    """Makes a split of a folder of metadata such as ``metadata/OpenImages/val``.

    ``class_labels.txt`` has lines ``image,class``; ``localization.txt`` has ``image,x0,y0,x1,y1`` (the last pixels),
    or, for masks, ``image,mask,ignore`` with one mask an object and one region that is ignored an image. Classes are
    named by their numbers. A split without ``localization.txt`` has labels only.

    Args:
        images_dir: Folder that the names of images begin in.
        metadata_dir: The folder of the split.
        out_dir: Folder of the set.
        split: Name of the split in the set.
        masks_dir: Folder that the names of masks begin in.
        copy: Copy the images instead of linking to them.

    Returns:
        See :func:`~mmwsss.datasets.localization_set.write_localization_set`.

    Raises:
        UserError: See there; also for a malformed list.
    """
    root = Path(metadata_dir)
    labels = dict(_rows(root / 'class_labels.txt', 2))
    if not all(label.strip().isdecimal() for label in labels.values()):
        raise UserError(f'{root / "class_labels.txt"}: lines must be image,class with a number for the class')
    classes = [str(i) for i in range(1 + max(map(int, labels.values()), default=0))]
    places = defaultdict(list)
    path = root / 'localization.txt'
    for name, *rest in _rows(path, 5, 3) if path.exists() else ():
        places[name].append(rest)
    images: dict[str, LocalizationImage] = {}
    for name, label in labels.items():
        if stem_of(name) in images:
            raise UserError(f'{root}: two images are named {stem_of(name)!r} without their folders; rename one')
        image = LocalizationImage(os.path.join(images_dir, name), str(int(label)))
        found = places[name]
        if found and len(found[0]) == 4:
            image.boxes = [_box(values, f'{path}: image {name!r}') for values in found]
        elif found:
            if masks_dir is None:
                raise UserError(f'{path}: names masks; give their folder with --masks-dir')
            image.mask = (lambda found=found: merge_object_masks(
                [os.path.join(masks_dir, mask) for mask, _ in found],
                [os.path.join(masks_dir, ignored) for _, ignored in found if ignored]))
        images[stem_of(name)] = image
    return write_localization_set(out_dir, split, images, classes, copy)


def merge_object_masks(objects: list[str], ignored: list[str]) -> np.ndarray:
    """Merges the masks of an image's objects: 1 in any of them, 255 where only an ignored region is, else 0.

    Args:
        objects: Files of masks of equal size, in which what is not black is the object.
        ignored: Files of regions to be ignored.

    Returns:
        uint8 [H, W].

    Raises:
        UserError: If a file is missing or unreadable, or sizes differ.
    """
    masks = [read_image(path).max(axis=-1) > 127 for path in objects]
    regions = [read_image(path).max(axis=-1) > 127 for path in ignored]
    if len({mask.shape for mask in masks + regions}) != 1:
        raise UserError(f'{objects[0]}: the masks of the image differ in size')
    merged = np.zeros(masks[0].shape, np.uint8)
    for region in regions:
        merged[region] = IGNORE
    for mask in masks:
        merged[mask] = 1
    return merged


def _rows(path: Path, *lengths: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(read_text(path))) if row]
    for number, row in enumerate(rows, 1):
        if len(row) not in lengths:
            raise UserError(f'{path}: line {number} has {len(row)} parts, but {" or ".join(map(str, lengths))} are '
                            'expected')
    return rows


def _box(values: list[str], place: str) -> list[float]:
    try:
        x0, y0, x1, y1 = map(float, values)
    except ValueError as error:
        raise UserError(f'{place}: {values} are no four numbers') from error
    return check_boxes([[x0, y0, x1 + 1, y1 + 1]], place)[0]
