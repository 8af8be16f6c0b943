"""The tree in which the components above a falling threshold grow and merge.

It is built from a map's maxima: every pixel is led uphill to the maximum that it belongs to, which joins pixels of one
component only, and the maxima are joined from the highest saddle down: union-find over maxima instead of pixels.
"""
import numpy as np

# Entries of a table of (maximum, level), above which it is sorted instead.
MAX_TABLE = 1 << 21


def find_basins(levels: np.ndarray) -> tuple[np.ndarray, int]:
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


def join_basins(basins: np.ndarray, levels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
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


class MergeTree:
    """The steps in which components grow: the pixels that join one component at one level.

    They are ordered from node to node of the tree and from the highest level down, so that what a component has is a
    running sum or maximum.

    Args:
        levels: int32 [H, W].
        basins: The number of the maximum of every pixel, -1 for level 0.
        low: See :func:`join_basins`.
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

    @property
    def sides(self) -> list[np.ndarray]:
        """What every step says of the box: -x0, x1, -y0 and y1, x1 and y1 excluded; the larger, the larger the box."""
        return self._steps

    @property
    def pixels(self) -> np.ndarray:
        """Number of pixels of every step."""
        return self._pixels

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first and the last threshold at which the component stays as a step leaves it."""
        # Down to the next step of its node, or to where it becomes part of a larger one.
        first = np.where(self._end, self.low[self._node], np.append(self._level[1:], 0)[:len(self._level)])
        return first, self._level - 1

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
