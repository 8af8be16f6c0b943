"""COCO's outlines (polygons and run lengths) as label maps.

Polygons are drawn by pycocotools. Run lengths are decoded here, after they were checked: of ones that are too short,
pycocotools (2.0.11) leaves the rest of the mask as memory happened to be.
"""
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmwsss.structures.label_file import IGNORE
from mmwsss.utils.errors import UserError

MAX_COORDINATE = 1e5  # an outline is followed step by step, so a damaged number must not make a long way of it
MAX_SHIFT = 60  # bits; no count of pixels needs more


class SegmentationError(ValueError):
    """A ``segmentation`` that is damaged; the message says how."""


def decode_counts(text: str) -> list[int]:
    """Decodes the run lengths of a compressed COCO RLE.

    A number is written in groups of 5 bits, the lowest first, as characters from ``'0'`` (48) on; bit 5 says that
    another group follows, and bit 4 of the last group is the sign. From the fourth number on it is the difference to
    the number two places before.

    Args:
        text: The string ``counts``.

    Returns:
        The run lengths.

    Raises:
        SegmentationError: If the string has other characters or ends within a number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > MAX_SHIFT:
            raise SegmentationError('the run lengths are no compressed RLE')
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise SegmentationError('the run lengths end within a number')
    return counts


def decode_rle(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Draws run lengths: of 0 and 1 in turn, beginning with 0, column by column from the left.

    Args:
        counts: The run lengths; they add up to H * W.
        height: H.
        width: W.

    Returns:
        bool [H, W].

    Raises:
        SegmentationError: If a count is no whole number of 0 or more, or if they do not add up.
    """
    if not all(isinstance(count, int) and count >= 0 for count in counts) or sum(counts) != height * width:
        raise SegmentationError(f'the run lengths do not add up to {height} x {width} pixels')
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def check_pycocotools() -> None:
    """Checks that polygons can be drawn.

    Raises:
        UserError: If pycocotools is not installed.
    """
    if importlib.util.find_spec('pycocotools') is None:
        raise UserError('masks of polygons are drawn by pycocotools, which is not installed: pip install mmwsss[coco] '
                        '(or pycocotools)')


def fill_polygons(polygons: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Draws the union of polygons as COCO's own tools do, so that areas and borders are those of its evaluation.

    Args:
        polygons: Each float64 [P, 2], x and y of P >= 3 corners; they may lie outside of the image.
        height: H.
        width: W.

    Returns:
        bool [H, W].

    Raises:
        UserError: If pycocotools is not installed.
    """
    check_pycocotools()
    from pycocotools import mask as coco_mask
    if not polygons:
        return np.zeros((height, width), bool)
    outlines = coco_mask.frPyObjects([points.ravel().tolist() for points in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(outlines)).astype(bool)


def segmentation_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Draws the ``segmentation`` of an annotation.

    Args:
        segmentation: A list of polygons ``[x, y, x, y, ...]``, of which the union is taken (those of fewer than three
            corners have no area), or ``{"size": [H, W], "counts": ...}`` with compressed (a string) or plain (a list)
            run lengths.
        height: H.
        width: W.

    Returns:
        bool [H, W].

    Raises:
        SegmentationError: If it is empty, of another form or of another size.
        UserError: For polygons, if pycocotools is not installed.
    """
    if isinstance(segmentation, dict):
        if segmentation.get('size') != [height, width]:
            raise SegmentationError(f'the run lengths are of size {segmentation.get("size")!r}, the image of '
                                    f'[{height}, {width}]')
        counts = segmentation.get('counts')
        if not isinstance(counts, (str, list)):
            raise SegmentationError('there are no run lengths')
        return decode_rle(decode_counts(counts) if isinstance(counts, str) else counts, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise SegmentationError('there is no outline')
    polygons = [_corners(polygon) for polygon in segmentation]
    return fill_polygons([points for points in polygons if len(points) >= 3], height, width)


def _corners(polygon: Any) -> np.ndarray:
    numbers = polygon if isinstance(polygon, list) and all(isinstance(x, (int, float)) for x in polygon) else [np.nan]
    if len(numbers) % 2 or not all(abs(x) <= MAX_COORDINATE for x in numbers):  # NaN is not
        raise SegmentationError('a polygon must be a list of pairs of numbers')
    return np.array(numbers, np.float64).reshape(-1, 2)


def merge_masks(masks: Sequence[np.ndarray], values: Sequence[int], height: int, width: int) -> np.ndarray:
    """Puts the objects of an image into one label map.

    Where objects overlap, the smaller one is on top (of equal ones the later), since what hides a part of a larger
    object is mostly smaller than it. Regions of value 255 (crowds) lie below all objects, and above the background.

    Args:
        masks: bool [H, W] of each object.
        values: k + 1 for an object of class k, 255 for a region to be ignored.
        height: H.
        width: W.

    Returns:
        uint8 [H, W].
    """
    label = np.zeros((height, width), np.uint8)
    layers = [(value != IGNORE, -int(mask.sum()), index) for index, (mask, value) in enumerate(zip(masks, values))]
    for *_, index in sorted(layers):
        label[masks[index]] = values[index]
    return label
