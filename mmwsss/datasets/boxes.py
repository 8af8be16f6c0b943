"""Boxes of objects: the file of a localization set, the annotations of ILSVRC, the components of masks."""
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from mmwsss.datasets.label_sources import parse_xml
from mmwsss.datasets.layout import read_text, stem_of
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json

BOXES_FILE = 'boxes.json'
Boxes = list[list[float]]


def read_boxes(path: str | os.PathLike) -> dict[str, Boxes]:
    """Reads ``{image: [[x0, y0, x1, y1], ...]}``, in pixels, x1 and y1 excluded.

    Args:
        path: A json file.

    Returns:
        Stem of the image -> its boxes.

    Raises:
        UserError: If the file is missing or malformed, or a box is not finite or empty.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: not valid json ({error}); correct it there') from error
    if not isinstance(content, dict):
        raise UserError(f'{path}: must hold {{image: [[x0, y0, x1, y1], ...]}}')
    return {stem_of(name): check_boxes(boxes, f'{path}: image {name!r}') for name, boxes in content.items()}


def write_boxes(path: str | os.PathLike, boxes: Mapping[str, Boxes]) -> None:
    """Writes what :func:`read_boxes` reads, atomically."""
    write_json(path, dict(boxes))


def check_boxes(boxes: Any, place: str) -> Boxes:
    """Returns boxes as they are.

    Args:
        boxes: Should be a list of lists of four numbers.
        place: File and image, for the message.

    Raises:
        UserError: If it is not, or if a box is not finite or empty.
    """
    if not isinstance(boxes, list):
        raise UserError(f'{place}: its boxes must be a list of [x0, y0, x1, y1]')
    for box in boxes:
        usable = isinstance(box, list) and len(box) == 4 and all(
            isinstance(side, (int, float)) and math.isfinite(side) for side in box)
        if not usable or box[2] <= box[0] or box[3] <= box[1]:
            raise UserError(f'{place}: {box} is no box [x0, y0, x1, y1] with x0 < x1 and y0 < y1; correct or remove it')
    return boxes


def read_xml_boxes(path: str | os.PathLike) -> dict[str, Boxes]:
    """Reads the boxes of an annotation of ILSVRC or VOC: ``<object><name>``, ``<bndbox>``.

    Args:
        path: The XML file.

    Returns:
        Name of the object, in ILSVRC the WordNet id -> its boxes, with the numbers as they stand in the file.

    Raises:
        UserError: If the file is missing or malformed, or a box is not finite or empty.
    """
    boxes: dict[str, Boxes] = {}
    for item in parse_xml(path).findall('object'):
        name = (item.findtext('name') or '').strip()
        try:
            box = [float(item.findtext(f'bndbox/{side}')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
        except (TypeError, ValueError) as error:
            raise UserError(f'{path}: an <object> has no <bndbox> with xmin, ymin, xmax and ymax; correct or remove '
                            'it') from error
        boxes.setdefault(name, []).extend(check_boxes([box], str(path)))
    return boxes


def check_share(share: float, what: str) -> None:
    """Refuses what is no share, such as a number of percent.

    Args:
        share: The number.
        what: The option, for the message.

    Raises:
        UserError: If it is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise UserError(f'{what}: must be a share from 0 to 1, such as 0.05 for 5 percent, not {share}')


def component_boxes(mask: np.ndarray, min_share: float = 0.) -> Boxes:
    """Returns the boxes of the 8-connected components of a mask, the largest component first.

    Args:
        mask: bool [H, W].
        min_share: Components with fewer pixels than this share of the largest one's are left out: crumbs that occluders
            and the drawing of masks leave.

    Returns:
        [x0, y0, x1, y1], x1 and y1 excluded.

    Raises:
        UserError: If ``min_share`` is not in [0, 1].
    """
    check_share(min_share, '--min-share')
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = sorted((stats[i].tolist() for i in range(1, count)), key=lambda stat: -stat[cv2.CC_STAT_AREA])
    return [[x, y, x + width, y + height] for x, y, width, height, area in found
            if area >= min_share * found[0][cv2.CC_STAT_AREA]]
