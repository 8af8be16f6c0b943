"""Loops of the permutohedral lattice and of mean field, compiled by numba; without numba this cannot be imported.

:mod:`mmwsss.postprocessing.numba_crf` puts them together.
"""
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload

from mmwsss.utils.compiled import compiled

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
EMPTY_TABLE = np.int32(-1)


# A few neighbouring values as a tuple, so that they stay in registers. The tuple's length is part of its type.

def _load(like: tuple, values: np.ndarray, row: int, column: int) -> tuple:
    """Returns ``values[row, column:column + len(like)]``."""


def _store(what: tuple, values: np.ndarray, row: int, column: int) -> None:
    """Sets ``values[row, column:column + len(what)]``."""


def _add(what: tuple, weight: np.float32, other: tuple) -> tuple:
    """Returns ``what + weight * other``."""


def _store_1(what: Any, values: Any, row: Any, column: Any) -> None:
    values[row, column] = what[0]


def _store_2(what: Any, values: Any, row: Any, column: Any) -> None:
    values[row, column] = what[0]
    values[row, column + 1] = what[1]


def _store_4(what: Any, values: Any, row: Any, column: Any) -> None:
    values[row, column] = what[0]
    values[row, column + 1] = what[1]
    values[row, column + 2] = what[2]
    values[row, column + 3] = what[3]


_LOADS = {
    1: lambda like, values, row, column: (values[row, column],),
    2: lambda like, values, row, column: (values[row, column], values[row, column + 1]),
    4: lambda like, values, row, column: (values[row, column], values[row, column + 1], values[row, column + 2],
                                          values[row, column + 3]),
}
_STORES = {1: _store_1, 2: _store_2, 4: _store_4}
_ADDS = {
    1: lambda what, weight, other: (what[0] + weight * other[0],),
    2: lambda what, weight, other: (what[0] + weight * other[0], what[1] + weight * other[1]),
    4: lambda what, weight, other: (what[0] + weight * other[0], what[1] + weight * other[1],
                                    what[2] + weight * other[2], what[3] + weight * other[3]),
}


@overload(_load, strict=False)
def _overload_load(like: Any, values: Any, row: Any, column: Any) -> Callable:
    return _LOADS[len(like)]


@overload(_store, strict=False)
def _overload_store(what: Any, values: Any, row: Any, column: Any) -> Callable:
    return _STORES[len(what)]


@overload(_add, strict=False)
def _overload_add(what: Any, weight: Any, other: Any) -> Callable:
    return _ADDS[len(what)]


@compiled
def find_vertices(features, scales, lowest, strides, codes, weights):
    """Fills the codes and the weights, [N, d + 1], of the vertices; ``permutohedral.simplex`` says more."""
    d = len(scales)
    size = ONE * np.float32(d + 1)
    inverse = ONE / size
    elevated, origin = np.empty(d + 1, np.float32), np.empty(d + 1, np.float32)
    rank, sorted_weights = np.empty(d + 1, np.int64), np.empty(d + 2, np.float32)
    for n in range(len(features)):
        total = ZERO
        for i in range(d, 0, -1):
            scaled = features[n, i - 1] * scales[i - 1]
            elevated[i] = total - np.float32(i) * scaled
            total += scaled
        elevated[0] = total
        excess = 0
        for i in range(d + 1):
            nearest = np.rint(elevated[i] * inverse)
            origin[i] = nearest * size
            excess += np.int64(nearest)
            rank[i] = 0
        for i in range(d):
            distance = elevated[i] - origin[i]
            for j in range(i + 1, d + 1):
                if distance < elevated[j] - origin[j]:
                    rank[i] += 1
                else:
                    rank[j] += 1
        sorted_weights[:] = ZERO
        for i in range(d + 1):
            r = rank[i] + excess
            if r < 0:
                r += d + 1
                origin[i] += size
            elif r > d:
                r -= d + 1
                origin[i] -= size
            rank[i] = r
            distance = (elevated[i] - origin[i]) * inverse
            sorted_weights[d - r] += distance
            sorted_weights[d - r + 1] -= distance
        sorted_weights[0] += ONE + sorted_weights[d + 1]
        base = 0
        for i in range(d):
            base += (np.int64(origin[i]) - lowest[i]) * strides[i]
        for k in range(d + 1):
            code = base
            for i in range(d):
                code += (k - (d + 1 if rank[i] > d - k else 0)) * strides[i]
            codes[n, k] = code
            weights[n, k] = sorted_weights[k]


@compiled
def _place(code, mask):
    return np.int64(((np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & np.uint64(mask))


@compiled
def number_vertices(codes, index):
    """Fills ``index``, [N, d + 1], with the numbers of the vertices.

    Returns:
        The code of each number, and the hash table, number or -1, whose length is a power of two.
    """
    capacity = 1 << 14
    table = np.full(capacity, EMPTY_TABLE, np.int32)
    keys = np.empty(capacity // 2, np.int64)
    count = 0
    for n in range(len(codes)):
        for k in range(codes.shape[1]):
            code = codes[n, k]
            if n > 0 and codes[n - 1, k] == code:
                index[n, k] = index[n - 1, k]
                continue
            if 2 * count == capacity:
                capacity *= 2
                table = np.full(capacity, EMPTY_TABLE, np.int32)
                more = np.empty(capacity // 2, np.int64)
                more[:count] = keys
                keys = more
                for number in range(count):
                    place = _place(keys[number], capacity - 1)
                    while table[place] >= 0:
                        place = (place + 1) & (capacity - 1)
                    table[place] = number
            place = _place(code, capacity - 1)
            while table[place] >= 0 and keys[table[place]] != code:
                place = (place + 1) & (capacity - 1)
            if table[place] < 0:
                table[place] = count
                keys[count] = code
                count += 1
            index[n, k] = table[place]
    return keys[:count].copy(), table


@compiled
def find_chains(keys, table, steps):
    """Finds the chains of at least two vertices along each direction.

    Returns:
        The vertices of the chains one after another, the first of each chain as its bitwise complement, which is
        negative; and where each direction begins, with the end of the last.
    """
    order = np.empty(len(keys) * len(steps), np.int32)
    bounds = np.zeros(len(steps) + 1, np.int64)
    following, is_first = np.empty(len(keys), np.int32), np.empty(len(keys), np.bool_)
    mask = len(table) - 1
    end = 0
    for direction in range(len(steps)):
        is_first[:] = True
        for vertex in range(len(keys)):
            code = keys[vertex] + steps[direction]
            place = _place(code, mask)
            while table[place] >= 0 and keys[table[place]] != code:
                place = (place + 1) & mask
            following[vertex] = table[place]
            if table[place] >= 0:
                is_first[table[place]] = False
        for vertex in range(len(keys)):
            if is_first[vertex] and following[vertex] >= 0:
                order[end] = ~vertex
                end += 1
                other = following[vertex]
                while other >= 0:
                    order[end] = other
                    end += 1
                    other = following[other]
        bounds[direction + 1] = end
    return order[:end].copy(), bounds


@compiled
def blur_chains(values, order, bounds, zero):
    """Blurs ``values``, [M, C], in place along each direction; C is a multiple of ``len(zero)``."""
    for direction in range(len(bounds) - 1):
        end = bounds[direction + 1]
        for column in range(0, values.shape[1], len(zero)):
            place = bounds[direction]
            while place < end:
                vertex = ~order[place]
                before = zero
                here = _load(zero, values, vertex, column)
                place += 1
                while place < end and order[place] >= 0:
                    other = order[place]
                    after = _load(zero, values, other, column)
                    _store(_add(here, HALF, _add(before, ONE, after)), values, vertex, column)
                    before, here, vertex = here, after, other
                    place += 1
                _store(_add(here, HALF, before), values, vertex, column)


@compiled
def splat_points(values, index, weights, points, zero):
    """Spreads ``points``, [N, C], over ``values``, [M, C]."""
    values[:] = ZERO
    for n in range(len(index)):
        for column in range(0, values.shape[1], len(zero)):
            point = _load(zero, points, n, column)
            for k in range(index.shape[1]):
                _store(_add(_load(zero, values, index[n, k], column), weights[n, k], point), values, index[n, k],
                       column)


@compiled
def slice_points(points, index, weights, values, alpha, zero):
    """Collects ``values``, [M, C], at ``points``, [N, C]."""
    for n in range(len(index)):
        for column in range(0, values.shape[1], len(zero)):
            total = zero
            for k in range(index.shape[1]):
                total = _add(total, weights[n, k], _load(zero, values, index[n, k], column))
            _store(_add(zero, alpha, total), points, n, column)


@compiled
def exponential(x):
    """``exp(x)`` of float32 x <= 0 , correct to about 2e-7 of it, so that loops of it become vector instructions.

    Below -87, where float32 is about to end, it is exp(-87). Cephes' expf: a power of two times a polynomial.
    """
    x = max(x, np.float32(-87))
    power = np.rint(x * np.float32(1.4426950408889634))
    x = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * x + np.float32(1.3981999507e-3)
    y = y * x + np.float32(8.3334519073e-3)
    y = y * x + np.float32(4.1665795894e-2)
    y = y * x + np.float32(1.6666665459e-1)
    y = y * x + np.float32(5.0000001201e-1)
    y = y * (x * x) + x + ONE
    return y * np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def mean_field_step(logits, ones, old_1, new_1, index_1, weights_1, norm_1, factor_1,
          old_2, new_2, index_2, weights_2, norm_2, factor_2, result, is_last, zero):
    """One mean-field iteration, from two blurred lattices to the next two that are to be blurred.

    ``logits``: the negative unary energies, [N, L]. ``ones``: the sum of the messages to all labels, [N]. The factors
    are the terms' weights times their lattices' scales. The last iteration fills ``result``, [L, N], instead of the
    new lattices.
    """
    num_labels = logits.shape[1]
    last, width = num_labels - 1, len(zero)
    q = np.zeros((1, old_1.shape[1] + 1), np.float32)  # label L - 1 at its place, then padding
    if not is_last:
        new_1[:] = ZERO
        new_2[:] = ZERO
    for n in range(len(logits)):
        scale_1, scale_2 = norm_1[n] * factor_1, norm_2[n] * factor_2
        for column in range(0, last, width):
            sum_1, sum_2 = zero, zero
            for k in range(index_1.shape[1]):
                sum_1 = _add(sum_1, weights_1[n, k], _load(zero, old_1, index_1[n, k], column))
            for k in range(index_2.shape[1]):
                sum_2 = _add(sum_2, weights_2[n, k], _load(zero, old_2, index_2[n, k], column))
            _store(_add(_add(zero, scale_1, sum_1), scale_2, sum_2), q, 0, column)
        rest = ones[n]
        for label in range(last):
            rest -= q[0, label]
        q[0, last] = rest
        highest = -np.float32(np.inf)
        for label in range(num_labels):
            q[0, label] += logits[n, label]
            highest = max(highest, q[0, label])
        total = ZERO
        for label in range(num_labels):
            q[0, label] = exponential(q[0, label] - highest)
        for label in range(num_labels):
            total += q[0, label]
        scale = ONE / total
        if is_last:
            for label in range(num_labels):
                result[label, n] = q[0, label] * scale
            continue
        q[0, last:] = ZERO
        for column in range(0, last, width):
            value = _add(zero, scale, _load(zero, q, 0, column))
            value_1, value_2 = _add(zero, norm_1[n], value), _add(zero, norm_2[n], value)
            for k in range(index_1.shape[1]):
                _store(_add(_load(zero, new_1, index_1[n, k], column), weights_1[n, k], value_1), new_1,
                       index_1[n, k], column)
            for k in range(index_2.shape[1]):
                _store(_add(_load(zero, new_2, index_2[n, k], column), weights_2[n, k], value_2), new_2,
                       index_2[n, k], column)
