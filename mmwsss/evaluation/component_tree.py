"""The connected components of a map above every threshold, in one pass.

With a rising threshold components only shrink, split and vanish, so those of all thresholds form a tree. It is built
from the map's maxima: every pixel is led uphill to the maximum that it belongs to, which joins pixels of one component
only, and the maxima are joined from the highest saddle down (union-find over maxima instead of pixels). What is known
of a component (box, number of pixels, area of its contour, holes) is a running maximum or sum along the tree.
"""
from dataclasses import dataclass, field

import cv2
import numpy as np

SIZES = ('pixels', 'contour', 'box')
# Entries of a table of (maximum, level), above which it is sorted instead.
MAX_TABLE = 1 << 21


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
        nodes: What :meth:`contour_areas` needs.
    """
    boxes: np.ndarray
    pixels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    levels: np.ndarray
    num_thresholds: int
    nodes: '_Groups | None' = field(repr=False, default=None)

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
        rows = self.row_of_maximum(np.argsort(np.argsort(values, kind='stable'), kind='stable'))
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
        if len(self) == 0:
            return np.zeros(0), np.zeros(0, np.int64)
        area, euler = self.nodes.square_weights(self.levels)
        return self.nodes.running_sum(area) / 2, 1 - self.nodes.running_sum(euler) // 4

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
    levels = np.asarray(levels, np.int32)
    basins, count = _basins(levels)
    low, parent = _join(basins, levels, count)
    return _Groups(levels, basins, low, parent, num_thresholds).tree(levels)


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


def _basins(levels: np.ndarray) -> tuple[np.ndarray, int]:
    """Leads every pixel uphill, always to the highest of its neighbours (of equal ones the first), to a maximum.

    Returns:
        int32 [H, W], the number of every pixel's maximum, -1 for level 0; and the number of maxima.
    """
    bits = int(levels.size).bit_length()
    mask = (1 << bits) - 1
    kind = np.int32 if int(levels.max()) >> (31 - bits) == 0 else np.int64
    index = np.arange(levels.size)
    # Level and, turned round, number of the pixel in one number; a rim of zeros around.
    keys = np.zeros((levels.shape[0] + 2, levels.shape[1] + 2), kind)
    keys[1:-1, 1:-1] = (levels.astype(kind) << bits) | (mask - index.astype(kind)).reshape(levels.shape)
    rows = np.maximum(np.maximum(keys[:-2], keys[2:]), keys[1:-1])
    highest = np.maximum(np.maximum(rows[:, :-2], rows[:, 2:]), rows[:, 1:-1])
    target = (mask - (highest & mask)).ravel().astype(np.intp)
    foreground = levels.ravel() > 0
    target[~foreground] = index[~foreground]
    while True:
        further = target[target]
        if np.array_equal(further, target):
            break
        target = further
    peaks = np.flatnonzero((target == index) & foreground)
    number = np.full(levels.size, -1, np.int32)
    number[peaks] = np.arange(len(peaks))
    return number[target].reshape(levels.shape), len(peaks)


def _join(basins: np.ndarray, levels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Joins the maxima from the highest saddle down.

    Returns:
        For every node of the tree (the maxima, then the unions in their order): the highest level at which it is part
        of a larger one, 0 for a root; and the number of that, for a root its own.
    """
    pair, saddle = _saddles(basins, levels, count)
    low, parent, root = [0] * count, list(range(count)), list(range(count))
    node = list(range(count))  # the tree's node of a set of maxima, at the set's representative

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for key, level in zip(pair.tolist(), saddle.tolist()):
        a, b = find(key // count), find(key % count)
        if a == b:
            continue
        union = len(parent)
        for one in (node[a], node[b]):
            low[one], parent[one] = level, union
        low.append(0)
        parent.append(union)
        root[b] = a
        node[a] = union
    return np.array(low, np.int64), np.array(parent, np.int64)


def _saddles(basins: np.ndarray, levels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds which maxima touch.

    Returns:
        int64, a * count + b for every such pair a < b, and the highest level at which they do; from the highest down.
    """
    pairs, saddles = [], []
    for one, other in (((slice(None), slice(1, None)), (slice(None), slice(-1))),
                       ((slice(1, None), slice(None)), (slice(-1), slice(None))),
                       ((slice(1, None), slice(1, None)), (slice(-1), slice(-1))),
                       ((slice(1, None), slice(-1)), (slice(-1), slice(1, None)))):
        a, b = basins[one].ravel(), basins[other].ravel()
        border = np.flatnonzero(a != b)
        a, b = a[border].astype(np.int64), b[border]
        pairs.append(np.minimum(a, b) * count + np.maximum(a, b))
        saddles.append(np.minimum(levels[one].ravel()[border], levels[other].ravel()[border]))
    pair, saddle = np.concatenate(pairs), np.concatenate(saddles)
    there = saddle > 0
    pair, saddle = pair[there], saddle[there]
    order = np.lexsort((saddle, pair))
    pair, saddle = pair[order], saddle[order]
    highest = _last_of_runs(pair)
    pair, saddle = pair[highest], saddle[highest]
    order = np.argsort(-saddle, kind='stable')
    return pair[order], saddle[order]


class _Groups:
    """The steps in which components grow: the pixels that join one component at one level.

    They are ordered from node to node of the tree and from the highest level down, so that what a component has is a
    running sum or maximum.

    Args:
        levels: int32 [H, W].
        basins: The number of the maximum of every pixel, -1 for level 0.
        low: See :func:`_join`.
        parent: See there.
        num_thresholds: T.
    """

    def __init__(self, levels: np.ndarray, basins: np.ndarray, low: np.ndarray, parent: np.ndarray,
                 num_thresholds: int) -> None:
        self.basins, self.low, self.parent = basins, low, parent
        self.num_thresholds = num_thresholds
        self._tables = _climbing_tables(low, parent)
        self._children = [(i, up) for i, up in enumerate(parent.tolist()) if up != i]

        foreground = np.flatnonzero(levels)
        y, x = np.divmod(foreground, levels.shape[1])
        # First the pixels of one maximum and level: sorted with a coordinate behind, a run of equal ones begins with
        # its least and ends with its greatest coordinate. There are far fewer runs than pixels to climb the tree.
        key = basins.ravel()[foreground].astype(np.int64) * (num_thresholds + 1)
        key += num_thresholds - levels.ravel()[foreground]
        sides = []
        for coordinate, size in zip((x, y), levels.shape[::-1]):
            bits = size.bit_length()
            both = np.sort((key << bits) | coordinate)
            runs = both >> bits
            last = np.flatnonzero(_last_of_runs(runs))
            first = np.append(0, last[:-1] + 1)[:len(last)]
            mask = (1 << bits) - 1
            sides += [-(both[first] & mask), (both[last] & mask) + 1]
        basin, above = np.divmod(runs[first], num_thresholds + 1)
        key = self._group_keys(basin, num_thresholds - above)
        order = np.argsort(key, kind='stable')
        key = key[order]
        starts = np.flatnonzero(_last_of_runs(key[::-1])[::-1])
        self._keys = key[starts]
        pixels = (last - first + 1)[order]
        self._steps = [np.maximum.reduceat(side[order], starts) if len(starts) else side for side in sides]
        self._pixels = np.add.reduceat(pixels, starts) if len(starts) else pixels

        self._node, above = np.divmod(self._keys, num_thresholds + 1)
        self._level = num_thresholds - above
        self._end = _last_of_runs(self._node)
        self._begin = np.flatnonzero(_last_of_runs(self._node[::-1])[::-1])

    def tree(self, levels: np.ndarray) -> ComponentTree:
        """Returns the components that the steps lead to."""
        x0, x1, y0, y1 = (self.running_maximum(side) for side in self._steps)
        # It stays as it is down to the next step of its node, or to where it becomes part of a larger one.
        first = np.where(self._end, self.low[self._node], np.append(self._level[1:], 0)[:len(self._level)])
        return ComponentTree(np.stack([-x0, -y0, x1, y1], axis=1), self.running_sum(self._pixels), first,
                             self._level - 1, levels, self.num_thresholds, self)

    def _group_keys(self, basin: np.ndarray, level: np.ndarray) -> np.ndarray:
        node = basin
        for low, up in self._tables:
            node = np.where(low[node] >= level, up[node], node)
        return node * (self.num_thresholds + 1) + (self.num_thresholds - level)

    def running_sum(self, steps: np.ndarray) -> np.ndarray:
        """Returns the sum over the steps of every component, int64 [M]."""
        if len(steps) == 0:
            return np.zeros(0, np.int64)
        total = steps.cumsum()
        total -= np.repeat((total - steps)[self._begin], np.diff(np.append(self._begin, len(total))))
        below = [0] * len(self.parent)
        whole = self._of_nodes(total, 0)
        for child, parent in self._children:
            below[parent] += below[child] + whole[child]
        return total + np.array(below)[self._node]

    def running_maximum(self, steps: np.ndarray) -> np.ndarray:
        """Returns the maximum over the steps of every component, int64 [M]."""
        if len(steps) == 0:
            return np.zeros(0, np.int64)
        least = int(steps.min())
        # Every node is lifted above the one before it, so that nothing of that is carried over.
        lift = self._node * (int(steps.max()) - least + 1)
        total = np.maximum.accumulate(steps + lift) - lift
        whole = self._of_nodes(total, least)
        below = [least] * len(self.parent)
        for child, parent in self._children:
            below[parent] = max(below[parent], below[child], whole[child])
        return np.maximum(total, np.array(below)[self._node])

    def _of_nodes(self, total: np.ndarray, empty: int) -> list[int]:
        whole = np.full(len(self.parent), empty, np.int64)
        whole[self._node[self._end]] = total[self._end]
        return whole.tolist()

    def square_weights(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns what every step adds to twice the contour area, and to four times the Euler number.

        Of the four pixels of a square the i-th highest joins as the i-th, whatever else is in the map, and it joins the
        component of the highest one.
        """
        padded = np.pad(levels, 1)
        a, b, c, d = (part.ravel() for part in (padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]))
        upper, lower = np.maximum(a, d), np.minimum(a, d)  # one diagonal
        upper_2, lower_2 = np.maximum(b, c), np.minimum(b, c)  # the other
        first, middle = np.maximum(upper, upper_2), np.minimum(upper, upper_2)
        middle_2, fourth = np.maximum(lower, lower_2), np.minimum(lower, lower_2)
        second, third = np.maximum(middle, middle_2), np.minimum(middle, middle_2)
        # The two highest are opposite: equal levels may be taken in any order.
        opposite = np.where(upper >= upper_2, lower, lower_2) > middle

        padded = np.pad(np.maximum(self.basins, 0), 1)
        a_d = np.where(a >= d, padded[:-1, :-1].ravel(), padded[1:, 1:].ravel())
        b_c = np.where(b >= c, padded[:-1, 1:].ravel(), padded[1:, :-1].ravel())
        basin = np.where(upper >= upper_2, a_d, b_c).astype(np.int64)
        basin *= self.num_thresholds + 1
        keys = [basin + level for level in (first, second, third, fourth)]
        distinct = None
        size = len(self.low) * (self.num_thresholds + 1)
        if size > MAX_TABLE:
            distinct, keys = np.unique(np.stack(keys), return_inverse=True)
            keys, size = keys.reshape(4, -1), len(distinct)
        opposite = np.flatnonzero(opposite)
        joined = [np.bincount(key, minlength=size) for key in keys]
        swapped = np.bincount(keys[2][opposite], minlength=size) - np.bincount(keys[1][opposite], minlength=size)
        euler = joined[0] - joined[1] - joined[2] + joined[3] + 2 * swapped
        area = joined[2] + joined[3]
        used = np.flatnonzero(area | euler)
        basin, level = np.divmod(used if distinct is None else distinct[used], self.num_thresholds + 1)
        step = self._keys.searchsorted(self._group_keys(basin, level))
        step[level == 0] = len(self._keys)  # not in the foreground
        return tuple(np.bincount(step, part[used], len(self._keys) + 1)[:-1].astype(np.int64) for part in (area, euler))


def _last_of_runs(values: np.ndarray) -> np.ndarray:
    """Marks the last one of every run of equal values; bool, as long as ``values``."""
    return np.append(values[1:] != values[:-1], True)[:len(values)]


def _climbing_tables(low: np.ndarray, parent: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns where 2^k steps up the tree lead, and up to which level all of them may be gone; the largest k first.

    A pixel of a maximum is, at its own level, in the highest node whose children all are joined at that level.
    """
    tables = [(low, parent)]
    while (tables[0][0] > 0).any():
        last_low, up = tables[0]
        tables.insert(0, (last_low[up], up[up]))
    return tables
