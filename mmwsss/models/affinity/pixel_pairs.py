"""Pairs of nearby pixels: their offsets, the paths between them, and their affinities as one plane per offset.

A plane holds, at (y, x), the value of the pair of (y, x) and (y + dy, x + dx) for its offset (dy, dx). Half of the
offsets is enough: the pair with the opposite offset is the same pair, seen from its other end.

The affinities are those of `AffinityNet <https://arxiv.org/abs/1803.10464>`_ (CVPR 2018) and of
`IRNet <https://arxiv.org/abs/1904.05044>`_ (CVPR 2019).
"""
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Offset = tuple[int, int]
# Rows and columns of a part of a map.
Window = tuple[slice, slice]
BORDERS = ('all', 'crop')


def half_disc_offsets(radius: int) -> tuple[Offset, ...]:
    """Offsets (dy, dx) of the pairs less than ``radius`` pixels apart, every pair once.

    (0, dx) for 0 < dx < radius, and dy > 0 with dy^2 + dx^2 < radius^2, in the order of AffinityNet's code: sorted.
    34 offsets for radius 5, 152 for radius 10, none for 1.

    Raises:
        ValueError: For a negative radius.
    """
    if radius < 0:
        raise ValueError(f'half_disc_offsets: radius must not be negative, got {radius}')
    return tuple((dy, dx) for dy in range(radius) for dx in range(-radius + 1, radius)
                 if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius)


def clipped_radius(radius: int, size: tuple[int, int]) -> int:
    """The radius on a map of size (h, w): (min(h, w) - 1) // 2 where a side is shorter than 2 radius + 1."""
    return radius if min(size) >= 2 * radius + 1 else (min(size) - 1) // 2


def lattice_path(offset: Offset) -> tuple[Offset, ...]:
    """The path of a pair: every lattice point with distance < 1 to the segment from (0, 0) to ``offset``, sorted.

    Both ends belong to it: IRNet's set of pixels on the line between two pixels. Whatever is outside of the box that
    the ends span is too far, and within the box the distance to the segment is that to its line.
    """
    dy, dx = offset
    return tuple((y, x) for y in range(min(0, dy), max(0, dy) + 1) for x in range(min(0, dx), max(0, dx) + 1)
                 if (dy * x - dx * y) ** 2 < dy * dy + dx * dx)


def pair_windows(size: tuple[int, int], offset: Offset) -> tuple[Window, Window]:
    """Where a map of size (h, w) holds the first and the second ends of the pairs with an offset.

    Returns:
        Two windows of one size (which may be zero): ``values[..., rows, columns]`` with the first are the values at
        the first ends of all pairs inside of the map, with the second those at their partners.
    """
    def ends(length: int, shift: int) -> tuple[slice, slice]:
        start, count = max(0, -shift), max(0, length - abs(shift))
        return slice(start, start + count), slice(start + shift, start + shift + count)

    rows, columns = ends(size[0], offset[0]), ends(size[1], offset[1])
    return (rows[0], columns[0]), (rows[1], columns[1])


def pair_mask(size: tuple[int, int], offsets: Sequence[Offset], border: str = 'all',
              device: torch.device | str | None = None) -> Tensor:
    """Which entries of the planes are pairs.

    Args:
        size: (h, w) of the map.
        offsets: P offsets.
        border: ``'all'``: the pairs with both ends inside of the map. ``'crop'``: of them only those that the released
            code of AffinityNet and IRNet uses: with m the largest coordinate of all offsets (radius - 1 for a half
            disc), the first end is in rows [0, h - m) and columns [m, w - m).
        device: Of the result.

    Returns:
        bool, P x h x w.

    Raises:
        ValueError: For another ``border``.
    """
    if border not in BORDERS:
        raise ValueError(f'pair_mask: border is one of {BORDERS}, got {border!r}')
    mask = torch.zeros(len(offsets), *size, dtype=torch.bool, device=device)
    margin = max((abs(coordinate) for offset in offsets for coordinate in offset), default=0)
    for plane, offset in zip(mask, offsets):
        if border == 'all':
            plane[pair_windows(size, offset)[0]] = True
        else:
            plane[:max(0, size[0] - margin), margin:max(margin, size[1] - margin)] = True
    return mask


def _full_precision(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _part(plane: Tensor, window: Window, shift: Offset = (0, 0)) -> Tensor:
    (rows, columns), (dy, dx) = window, shift
    return plane[..., rows.start + dy:rows.stop + dy, columns.start + dx:columns.stop + dx]


class _FeatureAffinity(Function):
    """Autograd would keep the differences of all channels for every offset; they are computed again instead."""

    @staticmethod
    def forward(ctx, features: Tensor, offsets: tuple[Offset, ...]) -> Tensor:
        size = features.shape[-2:]
        planes = features.new_zeros(len(features), len(offsets), *size)
        for p, offset in enumerate(offsets):
            first, second = pair_windows(size, offset)
            distance = (_part(features, first) - _part(features, second)).abs_().mean(dim=1)
            torch.exp(distance.neg_(), out=_part(planes[:, p], first))
        ctx.save_for_backward(features, planes)
        ctx.offsets = offsets
        return planes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        features, planes = ctx.saved_tensors
        pull = grad * planes / -features.shape[1]
        result = torch.zeros_like(features)
        for p, offset in enumerate(ctx.offsets):
            first, second = pair_windows(features.shape[-2:], offset)
            part = (_part(features, first) - _part(features, second)).sign_().mul_(_part(pull[:, p:p + 1], first))
            _part(result, first).add_(part)
            _part(result, second).sub_(part)
        return result, None


def feature_affinity(features: Tensor, offsets: Sequence[Offset]) -> Tensor:
    """AffinityNet's affinity of pairs (Sec. 3.2): exp(-mean_c |f_i - f_j|) for features f with C channels.

    Args:
        features: N x C x h x w.
        offsets: P offsets.

    Returns:
        N x P x h x w in [0, 1], float32 (float64 for float64): at (y, x) the affinity of (y, x) and
        (y + dy, x + dx), zero where the partner is outside of the map. Differentiable once.

    Raises:
        ValueError: If the features have another shape.
    """
    if features.dim() != 4:
        raise ValueError(f'feature_affinity: features must be N x C x h x w, got {list(features.shape)}')
    return _FeatureAffinity.apply(_full_precision(features), tuple(offsets))


@lru_cache(maxsize=32)
def path_parts(offsets: tuple[Offset, ...]) -> tuple[tuple[int, tuple[tuple[int | None, Offset], ...]], ...]:
    """Builds every path out of a few shorter ones, so that an extremum over it needs few comparisons.

    A shorter path may lie in a longer one at several places, and parts may overlap: a point that counts twice changes
    no extremum. Parts are chosen greedily, the one with the most points that are missing first. For radius 10 that is
    325 parts instead of 2,134 points.

    Args:
        offsets: P offsets, all different and not (0, 0).

    Returns:
        In an order in which paths follow their parts, P entries (p, parts); a part (q, shift) is the path of offset q,
        or the single point (0, 0) for ``None``, moved by ``shift``.
    """
    # A set of lattice points as the bits of an integer: moved by a bit shift, compared at once.
    reach = max((abs(coordinate) for offset in offsets for coordinate in offset), default=0)
    width = 4 * reach + 1

    def bits(points: Sequence[Offset]) -> int:
        return sum(1 << (y + 2 * reach) * width + x + 2 * reach for y, x in points)

    def moved(points: int, shift: Offset) -> int:
        places = shift[0] * width + shift[1]
        return points << places if places >= 0 else points >> -places

    known: dict[int | None, int] = {None: bits([(0, 0)])}
    plan = []
    for p in sorted(range(len(offsets)), key=lambda p: len(lattice_path(offsets[p]))):
        points = lattice_path(offsets[p])
        path = bits(points)
        # Every path holds (0, 0): moved by anything but a point of this path, it would leave it.
        candidates = [(q, shift, part) for q, other in known.items() for shift in points
                      if not (part := moved(other, shift)) & ~path]
        missing, parts = path, []
        while missing:
            q, shift, part = max(candidates, key=lambda candidate: (candidate[2] & missing).bit_count())
            parts.append((q, shift))
            missing &= ~part
        known[p] = path
        plan.append((p, tuple(parts)))
    return tuple(plan)


class _EdgeAffinity(Function):
    """1 - max over the path of the edge = min over the path of (1 - edge), built from planes of shorter paths.

    The planes are all that backward needs: the smallest part of a path has the path's value.
    """

    @staticmethod
    def _parts(planes: Tensor, pixels: Tensor, parts: tuple, window: Window) -> list[Tensor]:
        return [_part(pixels if q is None else planes[:, q], window, shift) for q, shift in parts]

    @staticmethod
    def forward(ctx, edge: Tensor, offsets: tuple[Offset, ...]) -> Tensor:
        pixels, size = 1 - edge[:, 0], edge.shape[-2:]
        planes = edge.new_zeros(len(edge), len(offsets), *size)
        for p, parts in path_parts(offsets):
            window, _ = pair_windows(size, offsets[p])
            target = _part(planes[:, p], window)
            first, *others = _EdgeAffinity._parts(planes, pixels, parts, window)
            target.copy_(first)
            for other in others:
                torch.minimum(target, other, out=target)
        ctx.save_for_backward(pixels, planes)
        ctx.offsets = offsets
        return planes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        pixels, planes = ctx.saved_tensors
        grad, grad_pixels = grad.clone(), torch.zeros_like(pixels)
        for p, parts in reversed(path_parts(ctx.offsets)):
            window, _ = pair_windows(planes.shape[-2:], ctx.offsets[p])
            value, passed = _part(planes[:, p], window), _part(grad[:, p], window)
            values = _EdgeAffinity._parts(planes, pixels, parts, window)
            *targets, last = _EdgeAffinity._parts(grad, grad_pixels, parts, window)
            for target, part in zip(targets, values):
                smallest = part == value
                target.add_(torch.where(smallest, passed, 0))
                passed = torch.where(smallest, 0, passed)  # of equal parts, the first alone gets it
            last.add_(passed)
        return -grad_pixels[:, None], None


def edge_affinity(edge: Tensor, offsets: Sequence[Offset]) -> Tensor:
    """IRNet's affinity of pairs: 1 - max over the path of the edge's probability.

    The path is :func:`lattice_path`. Planes of longer paths are maxima of shifted planes of shorter ones, see
    :func:`path_parts`: one function for training and inference, on any size. Deterministic on every device.

    Args:
        edge: N x 1 x h x w in [0, 1].
        offsets: P offsets, all different and not (0, 0).

    Returns:
        N x P x h x w in [0, 1], float32 (float64 for float64): at (y, x) the affinity of (y, x) and
        (y + dy, x + dx), zero where the partner is outside of the map: the edge is 1 there, as in IRNet's code.
        Differentiable once: an entry's gradient goes to the largest edge of its path, to one of them if several are
        equal.

    Raises:
        ValueError: If the edge has another shape or an offset is repeated or (0, 0).
    """
    offsets = tuple(offsets)
    if edge.dim() != 4 or edge.shape[1] != 1:
        raise ValueError(f'edge_affinity: the edge must be N x 1 x h x w, got {list(edge.shape)}')
    if len({(0, 0), *offsets}) != len(offsets) + 1:
        raise ValueError('edge_affinity: offsets must be different from one another and from (0, 0)')
    return _EdgeAffinity.apply(_full_precision(edge), offsets)
