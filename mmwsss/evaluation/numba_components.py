"""The components of all thresholds by union-find over pixels, compiled by numba; without numba it cannot be imported.

:mod:`mmwsss.evaluation.component_tree` says what is computed; :mod:`mmwsss.evaluation.merge_tree` does the same without
numba.
"""
import numpy as np

from mmwsss.utils.compiled import compiled

# Columns of what is known of a component.
X0, Y0, X1, Y1, PIXELS, AREA, EULER, FIRST, LAST = range(9)


@compiled
def _sorted_pixels(levels: np.ndarray, num_thresholds: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorts the pixels above level 0 from the highest level down (counting sort).

    Returns:
        int32 [P, 2], y and x; and int64 [T + 1]: pixels of level T - i are those from number i to i + 1 of it.
    """
    height, width = levels.shape
    begin = np.zeros(num_thresholds + 2, np.int64)
    for y in range(height):
        for x in range(width):
            begin[num_thresholds - levels[y, x] + 1] += 1
    for i in range(1, num_thresholds + 2):
        begin[i] += begin[i - 1]
    place = begin.copy()
    pixels = np.empty((begin[num_thresholds], 2), np.int32)
    for y in range(height):
        for x in range(width):
            i = num_thresholds - levels[y, x]
            if i < num_thresholds:
                pixels[place[i], 0], pixels[place[i], 1] = y, x
                place[i] += 1
    return pixels, begin


@compiled
def _find(root: np.ndarray, i: int) -> int:
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


def _table() -> np.ndarray:
    """Describes the 256 neighbourhoods of a pixel: what it adds there, and which neighbours are of different parts.

    Each of the four squares of pixels around it has one, two, three or four of them with it (Gray 1971: 1 for one, -1
    for three, -2 for two that are opposite; the contour area is 1 for four and 1/2 for three). Of neighbours that touch
    each other, so that they are of one component already, one is enough to find that.

    Returns:
        int16 [256, 3]: twice the area, four times the Euler number, and the neighbours that are looked at, as bits.
    """
    euler_of = {(False, 0): 1, (False, 1): -1, (False, 2): 1, (True, 0): -3, (True, 1): -1, (True, 2): 1}
    table = np.zeros((256, 3), np.int16)
    for bits in range(256):
        there = [bits >> k & 1 == 1 for k in range(8)]
        for corner in range(0, 8, 2):
            straight = there[corner - 1] + there[corner + 1]
            table[bits, 0] += straight == 2 or (straight == 1 and there[corner])
            table[bits, 1] += euler_of[there[corner], straight]
        part = list(range(8))
        for _ in range(8):  # neighbours side by side, and across a corner
            for k in range(8):
                for other in ((k + 1) % 8, *([(k + 2) % 8] if k % 2 else [])):
                    if there[k] and there[other]:
                        part[k] = part[other] = min(part[k], part[other])
        table[bits, 2] = sum(1 << k for k in range(8) if there[k] and part[k] == k)
    return table


# What of the 256 neighbourhoods; neighbours go round, from the upper left one.
NEIGHBOURHOODS = _table()


@compiled
def _components(levels: np.ndarray, num_thresholds: int, table: np.ndarray) -> np.ndarray:
    height, width = levels.shape
    stride = width + 2
    pixels, begin = _sorted_pixels(levels, num_thresholds)
    root = np.full((height + 2) * stride, -1, np.int32)
    of_root = np.empty(root.shape[0], np.int32)  # the node of a component, at its root
    node = np.empty((len(pixels), 7), np.int64)
    row_of_node = np.empty(len(pixels), np.int32)  # the last row that was written of it
    changed = np.empty(len(pixels), np.int32)
    is_changed = np.zeros(root.shape[0], np.bool_)
    rows = np.empty((len(pixels), 9), np.int64)
    num_nodes, num_rows = 0, 0
    near = np.array([-stride - 1, -stride, -stride + 1, 1, stride + 1, stride, stride - 1, -1])
    for i in range(num_thresholds):
        level, num_changed = num_thresholds - i, 0
        for number in range(begin[i], begin[i + 1]):
            y, x = pixels[number, 0], pixels[number, 1]
            pixel = (y + 1) * stride + x + 1
            bits = 0
            for k in range(8):
                bits |= (root[pixel + near[k]] >= 0) << k
            area, euler, parts = table[bits, 0], table[bits, 1], table[bits, 2]
            mine, k = -1, 0
            while parts >> k:
                if not parts >> k & 1:
                    k += 1
                    continue
                other = _find(root, pixel + near[k])
                k += 1
                if mine < 0:
                    mine = other
                elif other != mine:
                    a, b = of_root[mine], of_root[other]
                    if node[a, PIXELS] < node[b, PIXELS]:
                        mine, other, a, b = other, mine, b, a
                    root[other] = mine
                    node[a, X0], node[a, Y0] = min(node[a, X0], node[b, X0]), min(node[a, Y0], node[b, Y0])
                    node[a, X1], node[a, Y1] = max(node[a, X1], node[b, X1]), max(node[a, Y1], node[b, Y1])
                    for column in (PIXELS, AREA, EULER):
                        node[a, column] += node[b, column]
                    if row_of_node[b] >= 0:
                        rows[row_of_node[b], FIRST] = level
                        row_of_node[b] = -1
            if mine < 0:
                mine = pixel
                of_root[mine] = num_nodes
                row_of_node[num_nodes] = -1
                node[num_nodes, X0], node[num_nodes, Y0], node[num_nodes, X1], node[num_nodes, Y1] = x, y, x + 1, y + 1
                node[num_nodes, PIXELS] = node[num_nodes, AREA] = node[num_nodes, EULER] = 0
                num_nodes += 1
            root[pixel] = mine
            a = of_root[mine]
            node[a, X0], node[a, Y0] = min(node[a, X0], x), min(node[a, Y0], y)
            node[a, X1], node[a, Y1] = max(node[a, X1], x + 1), max(node[a, Y1], y + 1)
            node[a, PIXELS] += 1
            node[a, AREA] += area
            node[a, EULER] += euler
            if not is_changed[mine]:
                is_changed[mine] = True
                changed[num_changed] = mine
                num_changed += 1
        for k in range(num_changed):
            one = changed[k]
            is_changed[one] = False
            if root[one] != one:
                continue
            a = of_root[one]
            if row_of_node[a] >= 0:
                rows[row_of_node[a], FIRST] = level
            rows[num_rows, :7] = node[a]
            rows[num_rows, FIRST], rows[num_rows, LAST] = 0, level - 1
            row_of_node[a] = num_rows
            num_rows += 1
    return rows[:num_rows].copy()


def components(levels: np.ndarray, num_thresholds: int) -> np.ndarray:
    """Finds the 8-connected components of all thresholds.

    Args:
        levels: int32 [H, W], 0 to T.
        num_thresholds: T.

    Returns:
        int64 [M, 9], a row as long as a component looks the same: x0, y0, x1, y1 (excluded), number of pixels, twice
        the contour area without holes, four times the Euler number, the first and the last threshold.
    """
    return _components(levels, num_thresholds, NEIGHBOURHOODS)
