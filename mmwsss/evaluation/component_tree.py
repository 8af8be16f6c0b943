"""The connected components of a map above every threshold, in one pass.

With a rising threshold components only shrink, split and vanish, so those of all thresholds form a tree. What is known
of a component (box, number of pixels, area of its contour, holes) is a running maximum or sum along it. With numba it
is built pixel by pixel (:mod:`mmwsss.evaluation.numba_components`), without from maximum to maximum
(:mod:`mmwsss.evaluation.merge_tree`), which takes three to six times as long.
"""
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from mmwsss.evaluation.merge_tree import MergeTree, find_basins, join_basins

SIZES = ('pixels', 'contour', 'box')


@functools.cache
def compiled_components() -> Callable[[np.ndarray, int], np.ndarray] | None:
    """Returns :func:`mmwsss.evaluation.numba_components.components`; ``None`` without numba."""
    try:
        from mmwsss.evaluation.numba_components import components
    except (ImportError, ValueError, SystemError):  # not installed, or built for another version of numpy or Python
        return None
    return components


@dataclass(eq=False)
class ComponentTree:
    """The 8-connected components of all thresholds; each row is one, at the thresholds at which it looks like that.

    Attributes:
        boxes: int64 [M, 4], (x0, y0, x1, y1) in pixels, x1 and y1 excluded.
        pixels: int64 [M], number of pixels.
        first: int64 [M], number of the first threshold at which it is there.
        last: int64 [M], number of the last one.
        levels: int [H, W], for every pixel the number of thresholds below its value.
        num_thresholds: T.
        areas: What :meth:`contour_areas` returns, when called.
    """
    boxes: np.ndarray
    pixels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    levels: np.ndarray
    num_thresholds: int
    areas: Callable[[], tuple[np.ndarray, np.ndarray]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.boxes)

    def counts(self) -> np.ndarray:
        """Returns the number of components at every threshold, int64 [T]."""
        size = self.num_thresholds + 1
        return (np.bincount(self.first, minlength=size) - np.bincount(self.last + 1, minlength=size)).cumsum()[:-1]

    def maximum(self, values: np.ndarray, empty: float = 0.) -> np.ndarray:
        """Returns the maximum over the components of every threshold, as an array [T].

        Args:
            values: [M], a value of every component.
            empty: What is returned where there is no component.
        """
        rank = np.empty(len(self), np.int64)
        rank[np.argsort(values, kind='stable')] = np.arange(len(self))
        rows = self.row_of_maximum(rank)
        return np.where(rows >= 0, np.asarray(values)[rows] if len(self) else empty, empty)

    def row_of_maximum(self, rank: np.ndarray) -> np.ndarray:
        """Returns the row with the highest rank among the components of every threshold; -1 where there is none.

        Args:
            rank: int64 [M], a permutation of 0 .. M - 1.

        Returns:
            int64 [T].
        """
        # A sparse table turned round: every component enters two entries that cover its thresholds, of the
        # largest power of two that fits; then the entries of 2^k thresholds are handed down to those of 2^(k-1).
        length = self.last - self.first + 1
        top = int(length.max()).bit_length() if len(self) else 1
        power = np.frexp(length.astype(np.float64))[1] - 1
        table = np.full((top, self.num_thresholds), -1, np.int64)
        np.maximum.at(table, (power, self.first), rank)
        np.maximum.at(table, (power, self.last - (1 << power) + 1), rank)
        for k in range(top - 1, 0, -1):
            np.maximum(table[k - 1], table[k], out=table[k - 1])
            half = 1 << (k - 1)
            np.maximum(table[k - 1, half:], table[k, :-half], out=table[k - 1, half:])
        row = np.full(len(self) + 1, -1, np.int64)  # the last one is found for rank -1
        row[rank] = np.arange(len(self))
        return row[table[0]]

    def contour_areas(self) -> tuple[np.ndarray, np.ndarray]:
        """Computes the area that the polygon through the centres of a component's outermost pixels encloses.

        It is what OpenCV's ``contourArea`` gives for the outer contour: holes count as area. It is a sum over the
        squares between four pixels that are neighbours, 1 for four pixels of the component and 1/2 for three; holes
        are counted by Gray's formula for the Euler number.

        Returns:
            float64 [M], without what is in holes; and int64 [M], the number of holes.
        """
        return self.areas()

    def largest(self, size: str = 'pixels') -> tuple[np.ndarray, np.ndarray]:
        """Finds the box of the largest component at every threshold.

        Args:
            size: What is compared: the number of ``'pixels'``, the area of the ``'contour'`` (as clovaai/wsolevaluation
                does with OpenCV's ``contourArea``: holes count as area), or the area of the ``'box'`` (as SPA does).
                Of equal ones it is the upper one, then the left one (the one with the lower y0, x0, y1, x1).

        Returns:
            int64 [T, 4]; zeros where there is no component. And bool [T]: whether there is one.

        Raises:
            ValueError: For an unknown ``size``.
        """
        if size not in SIZES:
            raise ValueError(f'size is one of {SIZES}, got {size!r}')
        if len(self) == 0:
            return np.zeros((self.num_thresholds, 4), np.int64), np.zeros(self.num_thresholds, bool)
        doubtful = np.zeros(0, np.int64)
        if size == 'pixels':
            rows = self._row_of_largest(self.pixels)
        elif size == 'box':
            rows = self._row_of_largest(_area(self.boxes))
        elif self.counts().max() == 1:  # no need to compute areas
            rows = self._row_of_largest(self.pixels)
        else:
            rows, doubtful = self._largest_contour()
        boxes = np.concatenate([self.boxes, np.zeros((1, 4), np.int64)])[rows]
        if len(doubtful) == 0:
            return boxes, rows >= 0
        # Thresholds between the same levels have the same foreground.
        between, place = np.unique(np.unique(self.levels).searchsorted(doubtful, 'right'), return_inverse=True)
        for i in range(len(between)):
            same = doubtful[place == i]
            boxes[same] = largest_contour_box(self.levels > same[0])
        return boxes, rows >= 0

    def _row_of_largest(self, size: np.ndarray) -> np.ndarray:
        rank = np.empty(len(self), np.int64)
        x0, y0, x1, y1 = -self.boxes.T
        rank[np.lexsort((x1, y1, x0, y0, size))] = np.arange(len(self))
        return self.row_of_maximum(rank)

    def _largest_contour(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the largest contours, and the thresholds where holes leave it open which one it is."""
        area, holes = self.contour_areas()
        rows = self._row_of_largest(area)
        # A hole adds something to the area, but no more than the box has room for.
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2] - 1).T
        holed = np.flatnonzero(holes)
        length = self.last[holed] - self.first[holed] + 1
        thresholds = np.arange(length.sum()) + np.repeat(self.first[holed] - length.cumsum() + length, length)
        row = np.repeat(holed, length)
        chosen = rows[thresholds]
        rival = (row != chosen) & ((width * height)[row] >= area[chosen])
        return rows, np.unique(thresholds[rival])


def largest_contour_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Returns the box of the component whose outer contour encloses the largest area, by a search for contours.

    Args:
        mask: bool [H, W], True somewhere.

    Returns:
        (x0, y0, x1, y1), x1 and y1 excluded; for equal areas see :meth:`ComponentTree.largest`.
    """
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    best = None
    for contour, relation in zip(contours, hierarchy.reshape(-1, 4)):
        if relation[3] >= 0:  # the contour of a hole
            continue
        area = cv2.contourArea(contour)
        if best is None or area >= best[0]:
            x, y, width, height = cv2.boundingRect(contour)
            key = (-area, y, x, y + height, x + width)
            best = (area, key) if best is None else min((area, key), best, key=lambda pair: pair[1])
    _, (_, y0, x0, y1, x1) = best
    return x0, y0, x1, y1


def component_tree(levels: np.ndarray, num_thresholds: int) -> ComponentTree:
    """Builds the tree of the components of a map.

    Args:
        levels: int [H, W]: for every pixel the number of thresholds below its value, 0 to T. At threshold number t the
            pixels of more than t are foreground.
        num_thresholds: T, at least 1.

    Returns:
        The components at all thresholds.
    """
    levels = np.ascontiguousarray(levels, np.int32)
    if (components := compiled_components()) is not None:
        rows = components(levels, num_thresholds)
        boxes, (pixels, area, euler, first, last) = rows[:, :4], rows[:, 4:].T
        return ComponentTree(boxes, pixels, first, last, levels, num_thresholds, lambda: (area / 2, 1 - euler // 4))
    basins, count = find_basins(levels)
    steps = MergeTree(levels, basins, *join_basins(basins, levels, count), num_thresholds)
    x0, x1, y0, y1 = (steps.running_maximum(side) for side in steps.sides)

    def areas() -> tuple[np.ndarray, np.ndarray]:
        if len(x0) == 0:
            return np.zeros(0), np.zeros(0, np.int64)
        area, euler = steps.square_weights(levels)
        return steps.running_sum(area) / 2, 1 - steps.running_sum(euler) // 4
    return ComponentTree(np.stack([-x0, -y0, x1, y1], axis=1), steps.running_sum(steps.pixels), *steps.spans(), levels,
                         num_thresholds, areas)


def union_boxes(levels: np.ndarray, num_thresholds: int) -> np.ndarray:
    """Returns the box around all pixels above every threshold.

    Args:
        levels: See :func:`component_tree`.
        num_thresholds: T.

    Returns:
        int64 [T, 4]; zeros where there is no pixel.
    """
    wanted = np.arange(1, num_thresholds + 1)
    sides = []
    for axis in (0, 1):
        peaks = np.max(levels, axis=axis)
        sides.append((np.maximum.accumulate(peaks).searchsorted(wanted),
                      len(peaks) - np.maximum.accumulate(peaks[::-1]).searchsorted(wanted)))
    boxes = np.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], axis=1)
    return boxes * (wanted <= np.max(levels))[:, None]


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
