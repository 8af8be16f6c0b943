"""The dense CRF on the CPU with loops compiled by numba; without numba this cannot be imported.

The same lattice as :mod:`mmwsss.postprocessing.permutohedral`, and faster on it for these reasons:

- Lattice points are numbered by a hash table, in the order in which pixels meet them, so that near pixels have near
  values.
- Along a direction the lattice points form chains. A chain is blurred in place, from its start to its end; points
  without neighbours take no part.
- One pass over the pixels slices both lattices, applies the softmax, and splats into the next two.
- The messages to all labels sum to K 1, which is known: the last label needs no filtering.

Everything here works in one thread and without Python's lock. The machine code is kept in numba's cache.
"""
import numpy as np

from mmwsss.postprocessing.permutohedral import TINY, feature_scales, pack_keys
from mmwsss.postprocessing.permutohedral_numba import (
    ZERO,
    blur_chains,
    find_chains,
    find_vertices,
    mean_field_step,
    number_vertices,
    slice_points,
    splat_points,
)

WIDTHS = (1, 2, 4)  # values of a point that are worked on together; the loops know these


def _softmax(logits: np.ndarray) -> np.ndarray:
    q = np.exp(logits - logits.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True)


class NumbaLattice:
    """The lattice points that a set of points needs, and the kernel's norm, built once.

    Args:
        features: float32 [N, d], in standard deviations of the Gaussian.

    Attributes:
        num_vertices: M, the lattice points in use.
        norm: float32 [N], ``1 / sqrt(sum_j k_ij)``.

    Raises:
        UserError: See :func:`mmwsss.postprocessing.permutohedral.pack_keys`.
    """

    def __init__(self, features: np.ndarray) -> None:
        num_points, num_features = features.shape
        packing = pack_keys(features.min(axis=0).tolist(), features.max(axis=0).tolist())
        self.weights = np.empty((num_points, num_features + 1), np.float32)
        codes = np.empty(self.weights.shape, np.int64)
        scales = tuple(np.float32(scale) for scale in feature_scales(num_features))
        find_vertices(np.ascontiguousarray(features), scales, np.array(packing.lowest), np.array(packing.strides),
                       codes, self.weights)
        # Unsigned, so that no negative index has to be looked for.
        self.index = np.empty(codes.shape, np.uint32)
        keys, table = number_vertices(codes, self.index)
        self.num_vertices = len(keys)
        self.order, self.bounds = find_chains(keys, table, np.array(packing.steps))
        self.alpha = np.float32(1 / (1 + 2 ** -num_features))
        self.norm = 1 / np.sqrt(self.filter(np.ones((num_points, 1), np.float32))[:, 0] + np.float32(TINY))

    def filter(self, points: np.ndarray) -> np.ndarray:
        """Sums ``exp(-|f_i - f_j|^2 / 2)`` over all points j, approximately and up to a common factor.

        Args:
            points: float32 [N, C].

        Returns:
            float32 [N, C].
        """
        padded, zero = _padded(points)
        values = self.splatted(padded, zero)
        blur_chains(values, self.order, self.bounds, zero)
        result = np.empty_like(padded)
        slice_points(result, self.index, self.weights, values, self.alpha, zero)
        return result[:, :points.shape[1]]

    def splatted(self, points: np.ndarray, zero: tuple) -> np.ndarray:
        """Spreads points over the lattice: float32 [M, C] of [N, C], C a multiple of ``len(zero)``."""
        values = np.empty((self.num_vertices, points.shape[1]), np.float32)
        splat_points(values, self.index, self.weights, points, zero)
        return values


class _NoLattice:
    """In place of the lattice of a term that is left out: no vertices."""

    def __init__(self, num_points: int) -> None:
        self.index, self.weights = np.empty((num_points, 0), np.uint32), np.empty((num_points, 0), np.float32)
        self.order, self.bounds = np.empty(0, np.int32), np.zeros(1, np.int64)
        self.alpha, self.norm = ZERO, np.zeros(num_points, np.float32)

    def splatted(self, points: np.ndarray, zero: tuple) -> np.ndarray:
        return np.zeros((1, points.shape[1]), np.float32)

    def filter(self, points: np.ndarray) -> np.ndarray:
        return np.zeros_like(points)


def _padded(points: np.ndarray) -> tuple[np.ndarray, tuple]:
    """Pads columns with zeros to a multiple of one of the widths; returns that many zeros, too."""
    columns = points.shape[1]
    width = next((width for width in WIDTHS if columns <= width), WIDTHS[-1])
    zero = (ZERO,) * width
    if columns % width == 0:
        return np.ascontiguousarray(points), zero
    padded = np.zeros((len(points), columns + -columns % width), np.float32)
    padded[:, :columns] = points
    return padded, zero


class NumbaKernels:
    """The two pairwise terms of one image, for any number of CRFs on it.

    Args:
        position: Features of the smoothness kernel, float32 [N, 2]; ``None``: there is none.
        appearance: Features of the appearance kernel, float32 [N, 5]; ``None``: there is none.
        position_weight: The first term's weight.
        appearance_weight: The second one's.
        num_points: N.
    """

    def __init__(self, position: np.ndarray | None, appearance: np.ndarray | None, position_weight: float,
                 appearance_weight: float, num_points: int) -> None:
        self.lattices = [_NoLattice(num_points) if features is None else NumbaLattice(features)
                         for features in (position, appearance)]
        self.weights = [np.float32(position_weight), np.float32(appearance_weight)]
        self.ones = np.zeros(num_points, np.float32)
        for lattice, weight in zip(self.lattices, self.weights):
            self.ones += weight * lattice.norm * lattice.filter(lattice.norm[:, None])[:, 0]

    def mean_field(self, energy: np.ndarray, iterations: int) -> np.ndarray:
        """Mean-field inference, see :func:`mmwsss.postprocessing.mean_field.mean_field`.

        Args:
            energy: Unary energies, finite, float32 [L, N], L >= 2.
            iterations: At least 0.

        Returns:
            Probabilities, float32 [L, N].
        """
        logits = -np.ascontiguousarray(energy.T)
        q = _softmax(logits)
        if iterations == 0:
            return np.ascontiguousarray(q.T)
        first, second = self.lattices
        factors = [weight * lattice.alpha for weight, lattice in zip(self.weights, self.lattices)]
        q, zero = _padded(q[:, :-1])
        old = [lattice.splatted(q * lattice.norm[:, None], zero) for lattice in self.lattices]
        new = [np.empty_like(values) for values in old]
        result = np.empty_like(energy, order='C')
        for iteration in range(iterations):
            for lattice, values in zip(self.lattices, old):
                blur_chains(values, lattice.order, lattice.bounds, zero)
            mean_field_step(logits, self.ones, old[0], new[0], first.index, first.weights, first.norm, factors[0],
                  old[1], new[1], second.index, second.weights, second.norm, factors[1], result,
                  iteration == iterations - 1, zero)
            old, new = new, old
        return result
