"""Gaussian filtering on the permutohedral lattice, in plain PyTorch operations on any device.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010. A point
p of d features is put into the hyperplane of d + 1 coordinates whose sum is 0, and lies there in a simplex of d + 1
lattice points. Its value is spread over these (splat), blurred along each of the d + 1 directions of the lattice by
[1/2, 1, 1/2], and collected again (slice), with the barycentric coordinates as weights both times.

The rounding, the order of the directions and the scale are those of pydensecrf (Krähenbühl and Koltun, NIPS 2011): the
results are the same to the last digits of float32.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.utils.errors import UserError

TINY = 1e-20  # keeps the norm of a point that nothing reaches finite; pydensecrf's value


def feature_scales(num_features: int) -> list[float]:
    """Factors of the features before they are put into the hyperplane: a blurred unit is one standard deviation.

    Page 5 and 6 of the paper; they hold values of float32, so that every way of computing lattice points starts
    from the same ones.
    """
    deviation = float(torch.tensor(math.sqrt(2 / 3) * (num_features + 1), dtype=torch.float32))
    scales = [deviation / math.sqrt((i + 1) * (i + 2)) for i in range(num_features)]
    return torch.tensor(scales, dtype=torch.float32).tolist()


@dataclass(frozen=True)
class KeyPacking:
    """Lattice points as single whole numbers: ``code = sum_i (key_i - lowest_i) strides_i``.

    Attributes:
        lowest: The lowest of each of the first d coordinates of the points, less a margin for neighbours.
        strides: The weight of each.
        steps: What a step along each of the d + 1 directions adds to a code.
        span: All codes are below it.
    """
    lowest: list[int]
    strides: list[int]
    steps: list[int]
    span: int


def pack_keys(lowest: list[float], highest: list[float], num_images: int = 1) -> KeyPacking:
    """Chooses how lattice points are numbered so that no two have one code.

    Args:
        lowest: The lowest of each of the d features.
        highest: The highest.
        num_images: So many times the span of the codes must fit too.

    Raises:
        UserError: If the lattice is too fine for codes of 63 bits: the features span too many standard deviations.
    """
    num_features = len(lowest)
    # Coordinate i is (the sum of scaled features i, i + 1, ...) - i (scaled feature i - 1). A simplex reaches d + 1
    # from its point, a neighbour d from there.
    scaled = [sorted((low * scale, high * scale))
              for low, high, scale in zip(lowest, highest, feature_scales(num_features))]
    margin = 3 * (num_features + 1)
    first, spans = [], []
    for i in range(num_features):
        low, high = (sum(bounds[k] for bounds in scaled[i:]) for k in (0, 1))
        if i:
            low, high = low - i * scaled[i - 1][1], high - i * scaled[i - 1][0]
        first.append(math.floor(low) - margin)
        spans.append(math.ceil(high) + margin - first[-1] + 1)
    span = math.prod(spans)
    if span * num_images >= 2 ** 63:
        raise UserError('dense CRF: the standard deviations are too small for an image of this size and these colours; '
                        'raise bilateral_srgb, the sxy, or lower scale_factor')
    strides = [math.prod(spans[i + 1:]) for i in range(num_features)]
    # A step adds 1 to every coordinate and takes d + 1 off one of them; the last coordinate is not in the code.
    steps = [sum(strides) - (num_features + 1) * stride for stride in strides] + [sum(strides)]
    return KeyPacking(first, strides, steps, span)


def simplex(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the simplex that each point lies in.

    Args:
        features: float32 [N, d], in standard deviations.

    Returns:
        The nearest lattice point with remainder 0, int64 [N, d + 1], coordinates of sum 0; the rank of each
        coordinate's distance from it, int64 [N, d + 1], a permutation of 0 to d, where 0 is the largest; and the
        barycentric coordinates, float32 [N, d + 1], of the vertices with remainders 0 to d.
    """
    num_points, num_features = features.shape
    size = num_features + 1
    scaled = features * torch.tensor(feature_scales(num_features), device=features.device)
    # One after another, as float32 is rounded there.
    total = torch.zeros_like(scaled[:, 0])
    elevated = torch.empty(num_points, size, device=features.device)
    for i in range(num_features, 0, -1):
        elevated[:, i] = total - i * scaled[:, i - 1]
        total = total + scaled[:, i - 1]
    elevated[:, 0] = total
    inverse = torch.tensor(1 / size, dtype=torch.float32, device=features.device)
    nearest = torch.round(elevated * inverse)
    excess = nearest.sum(dim=1).long()
    origin = nearest * size
    distance = elevated - origin
    rank = torch.zeros(num_points, size, dtype=torch.long, device=features.device)
    for i in range(num_features):
        for j in range(i + 1, size):
            less = distance[:, i] < distance[:, j]
            rank[:, i] += less
            rank[:, j] += ~less
    # The rounded point may lie off the hyperplane; then the coordinates that were rounded furthest step back.
    rank += excess[:, None]
    wrap = size * ((rank < 0).long() - (rank >= size).long())
    rank += wrap
    origin += wrap
    # Sorted by rank, the barycentric coordinates are the differences of successive distances.
    distance = torch.zeros_like(elevated).scatter_(1, num_features - rank, (elevated - origin) * inverse)
    weights = distance - F.pad(distance, (1, 0))[:, :size]
    weights[:, 0] = distance[:, 0] + (1 - distance[:, num_features])
    return origin.long(), rank, weights


class PermutohedralLattice:
    """The lattice points that a set of points needs, built once for any number of :meth:`filter` calls.

    Args:
        features: float32 [N, d], in standard deviations of the Gaussian, on any device.
        image: int64 [N], the image of each point; points of different images do not see each other. ``None``: all
            are of one.

    Attributes:
        num_vertices: M, the lattice points in use.

    Raises:
        UserError: See :func:`pack_keys`.
    """

    def __init__(self, features: Tensor, image: Tensor | None = None) -> None:
        num_features = features.shape[1]
        size = num_features + 1
        lowest, highest = (bound.tolist() for bound in torch.aminmax(features, dim=0))
        num_images = 1 if image is None else int(image.max()) + 1
        packing = pack_keys(lowest, highest, num_images)
        strides = torch.tensor(packing.strides, device=features.device)
        origin, rank, weights = simplex(features)
        base = ((origin[:, :-1] - torch.tensor(packing.lowest, device=features.device)) * strides).sum(dim=1)
        if image is not None:
            base += image * packing.span
        # Vertex k adds k to each coordinate, less d + 1 where the rank is above d - k.
        codes = torch.stack([base + ((k - size * (rank[:, :-1] > num_features - k)) * strides).sum(dim=1)
                             for k in range(size)], dim=1)
        del origin, rank, base
        vertices, index = torch.unique(codes, return_inverse=True)
        del codes
        self.num_vertices = len(vertices)
        self.alpha = 1 / (1 + 2 ** -num_features)
        # Row M of the values is 0: what is not there.
        self.neighbours = []
        absent = torch.tensor(self.num_vertices, device=features.device)
        for step in packing.steps:
            pair = []
            for sign in (1, -1):
                wanted = vertices + sign * step
                found = torch.searchsorted(vertices, wanted).clamp_(max=self.num_vertices - 1)
                pair.append(torch.where(vertices[found] == wanted, found, absent).int())
            self.neighbours.append(pair)
        self.index, self.weights = index.int(), weights
        # The same seen from the vertices: which points, with which weights, lie at each.
        order = torch.argsort(index.flatten(), stable=True)
        self._points = torch.div(order, size, rounding_mode='floor').int()
        self._point_weights = weights.flatten()[order]
        counts = torch.bincount(index.flatten(), minlength=self.num_vertices)
        self._offsets = (torch.cumsum(counts, dim=0) - counts).int()

    def filter(self, values: Tensor) -> Tensor:
        """Sums ``exp(-|f_i - f_j|^2 / 2)`` over all points j, i among them, approximately and up to a common factor.

        Args:
            values: float32 [N, C].

        Returns:
            float32 [N, C].
        """
        lattice = F.embedding_bag(self._points, values, self._offsets, mode='sum',
                                  per_sample_weights=self._point_weights)
        for first, second in self.neighbours:
            lattice = F.pad(lattice, (0, 0, 0, 1))
            lattice = lattice[:-1] + 0.5 * (lattice.index_select(0, first) + lattice.index_select(0, second))
        return self.alpha * F.embedding_bag(self.index, lattice, mode='sum', per_sample_weights=self.weights)


class SymmetricKernel:
    """A Gaussian kernel, normalised by ``K_ij = k_ij / sqrt(sum_j k_ij) / sqrt(sum_i k_ij)``.

    Args:
        features: See :class:`PermutohedralLattice`.
        image: See there.
    """

    def __init__(self, features: Tensor, image: Tensor | None = None) -> None:
        self.lattice = PermutohedralLattice(features, image)
        ones = torch.ones(len(features), 1, device=features.device)
        self.norm = (self.lattice.filter(ones) + TINY).rsqrt()

    def __call__(self, values: Tensor) -> Tensor:
        """Returns ``K @ values``, float32 [N, C], of float32 values [N, C]."""
        return self.norm * self.lattice.filter(self.norm * values)
