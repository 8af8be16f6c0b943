"""The random walk that spreads class maps over pixels that belong together, without its n x n matrix.

From `AffinityNet <https://arxiv.org/abs/1803.10464>`_ (Sec. 3.3) and `IRNet <https://arxiv.org/abs/1904.05044>`_, whose
code builds the dense transition matrix T of an image with n pixels and squares it until it is T^s. Here T is applied s
times to the maps, as shifts of the maps times planes of weights; or fewer times, with an error bound.
"""
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mmwsss.models.affinity.pixel_pairs import BORDERS, Offset, half_disc_offsets, pair_mask
from mmwsss.registry import TASK_UTILS

METHODS = ('exact', 'chebyshev')


def chebyshev_coefficients(steps: int, tolerance: float) -> tuple[np.ndarray, float]:
    r"""A polynomial of low degree that is close to x^s on [-1, 1].

    In Chebyshev polynomials T_k::

        x^s = sum_k c_k T_k(x),  c_k = 2^(1-s) binomial(s, (s-k)/2) for k = s, s-2, ... (half of it for k = 0)

    All c_k are positive and sum to 1, and |T_k| <= 1: leaving out those above a degree K with the sum tau is wrong by
    tau at most. They are like the chances of a fair walk to be k away after s steps, and tau < 2 exp(-K^2 / (2 s)). The
    others are divided by their sum, so that the polynomial is 1 at 1 and a walk by it preserves mass; this is wrong by
    another tau at most.

    Args:
        steps: s, at least 1.
        tolerance: Of the absolute error on [-1, 1], below 1; 0 keeps all.

    Returns:
        The coefficients of T_0 ... T_K, float64 [K + 1], with the least K for which 2 tau <= tolerance; the bound
        2 tau.

    Raises:
        ValueError: If ``steps`` is below 1, or ``tolerance`` not in [0, 1).
    """
    if steps < 1 or not 0 <= tolerance < 1:
        raise ValueError(f'chebyshev_coefficients: steps must be at least 1 and tolerance at least 0 and below 1, got '
                         f'{steps!r} and {tolerance!r}')
    orders = np.arange(steps % 2, steps + 1, 2)
    # Ratios of neighbouring binomials, from the largest on: for many steps the last ones are too small for a float.
    ratios = (steps - orders[:-1]) / (steps + orders[:-1] + 2)
    terms = np.cumprod(np.concatenate([[1], ratios]))
    if orders[0] == 0:
        terms[0] /= 2
    terms /= terms.sum()
    tails = np.concatenate([terms[:0:-1].cumsum()[::-1], [0]])  # of all terms after the one in this place
    last = int(np.flatnonzero(2 * tails <= tolerance)[0])
    coefficients = np.zeros(orders[last] + 1)
    coefficients[orders[:last + 1]] = terms[:last + 1] / terms[:last + 1].sum()
    return coefficients, 2 * float(tails[last])


class _Transition:
    """S = D^-1/2 W D^-1/2 for W = A^beta with unit diagonal and D its column sums, as planes of S - I.

    T = W D^-1 is similar to it: x^T T^s = (x D^1/2)^T S^s D^-1/2. S is symmetric, so one plane serves a pair in both
    directions, and its eigenvalues are those of T, in [-1, 1].

    The increment (S - I) x and not S x is summed up, from the far offsets, whose weights are small, to the near. Where
    a pixel hardly gives anything away, behind strong edges, every term would otherwise be rounded to the precision of x
    instead of its own, and in the same way in every step: in float32, errors of 7e-4 instead of 1e-5 after 256 steps.

    Pixels are numbered row by row. A shift of a map by (dy, dx) is then a shift by dy w + dx places: where it runs over
    the end of a row there is no pair, and the weight is zero.

    Attributes:
        scale: N x 1 x n, D^1/2.
    """

    def __init__(self, affinity: Tensor, offsets: Sequence[Offset], beta: float, border: str,
                 dtype: torch.dtype) -> None:
        height, width = affinity.shape[-2:]
        mask = pair_mask((height, width), offsets, border, affinity.device)
        weights = []
        for p in sorted(range(len(offsets)), key=lambda p: math.hypot(*offsets[p]), reverse=True):
            dy, dx = offsets[p]
            if dy < height and abs(dx) < width:
                # Whatever stands in an entry that is not a pair must not spread, not even as inf * 0.
                plane = torch.where(mask[p], affinity[:, p].to(dtype).pow(beta), 0)
                shift = dy * width + dx
                weights.append((shift, plane.flatten(1)[:, None, :-shift]))
        # In float64, as an error here is one of every step.
        others = torch.zeros(len(affinity), 1, height * width, dtype=torch.float64, device=affinity.device)
        for shift, weight in weights:
            others[..., :-shift] += weight
            others[..., shift:] += weight
        self.scale = (1 + others).sqrt().to(dtype)
        inverse = (1 + others).rsqrt().to(dtype)
        self.diagonal = (-others / (1 + others)).to(dtype)
        self.weights = [(shift, weight.mul_(inverse[..., :-shift]).mul_(inverse[..., shift:]))
                        for shift, weight in weights]

    def adder(self, source: Tensor, target: Tensor) -> Callable[[float], None]:
        """Returns a function that adds ``factor * (S - I) source`` to ``target``; both N x K x n.

        The many views are made once and not at every step: they would cost as much as the arithmetic.
        """
        products = []
        for shift, weight in self.weights:
            products += [(target[..., :-shift], weight, source[..., shift:]),
                         (target[..., shift:], weight, source[..., :-shift])]
        products.append((target, self.diagonal, source))

        def add(factor: float = 1) -> None:
            for to, weight, values in products:
                to.addcmul_(weight, values, value=factor)

        return add


def _walk(transition: _Transition, maps: Tensor, steps: int) -> Tensor:
    """S^s of the maps, in their place."""
    increment = torch.empty_like(maps)
    add_to_increment = transition.adder(maps, increment)
    for _ in range(steps):
        increment.zero_()
        add_to_increment()
        maps += increment
    return maps


def _chebyshev_walk(transition: _Transition, maps: Tensor, coefficients: np.ndarray) -> Tensor:
    """sum_k c_k T_k(S) of the maps, which are overwritten.

    T_k = 2 S T_(k-1) - T_(k-2), by increments: T_k - T_(k-1) = T_(k-1) - T_(k-2) + 2 (S - I) T_(k-1).
    """
    total = maps * float(coefficients[0])
    increment = torch.zeros_like(maps)
    add_to_increment = transition.adder(maps, increment)
    for k, coefficient in enumerate(coefficients[1:].tolist(), start=1):
        add_to_increment(1 if k == 1 else 2)
        maps += increment
        if coefficient:
            total.add_(maps, alpha=coefficient)
    return total


@torch.no_grad()
def random_walk(affinity: Tensor, maps: Tensor, offsets: Sequence[Offset], *, beta: float, steps: int,
                border: str = 'all', method: str = 'exact', tolerance: float = 1e-4) -> Tensor:
    """Spreads class maps by a random walk: x^T T^s for every map x, T = (A^beta with unit diagonal) / column sums.

    In this convention, the one of AffinityNet's and IRNet's code, a step replaces every value by a weighted mean of the
    values around it: a constant map stays as it is, no value leaves the range of its map, and the sum of the values
    weighted by T's column sums D is preserved.

    ``'exact'`` takes s products with T. ``'chebyshev'`` takes sqrt(2 s ln(4 / tolerance)) at most: see
    :func:`chebyshev_coefficients`. With |x|_D = sqrt(sum_j D_j x_j^2), its error in this norm is at most ``tolerance``
    times |x|_D, for every map x; so at most ``tolerance`` |x|_D / sqrt(D_j) at pixel j. For 256 steps, 1e-4 takes 64
    products and errors at single pixels are about 5e-5 of the result's maximum; 1e-5 takes 72, with a tenth of it.
    Rounding comes on top of it for both methods, about 1e-5 of a value in float32.

    Beyond the arguments, it needs less than P + 20 + 3 K values a pixel: there is never an n x n matrix.

    Args:
        affinity: N x P x h x w in [0, 1]: planes of :func:`mmwsss.models.affinity.edge_affinity` or
            :func:`mmwsss.models.affinity.feature_affinity`. Entries that are not a pair are not read.
        maps: N x K x h x w, any K; neither argument is changed.
        offsets: P offsets of a half disc: dy > 0, or dy = 0 and dx > 0.
        beta: Exponent, above 0.
        steps: s, at least 1.
        border: See :func:`mmwsss.models.affinity.pair_mask`.
        method: ``'exact'`` or ``'chebyshev'``.
        tolerance: For ``'chebyshev'``.

    Returns:
        N x K x h x w, float32 (float64 if one of the arguments is), without gradient.

    Raises:
        ValueError: If the shapes do not fit, or an option is none of those listed.
    """
    _check_options('random_walk', beta, steps, border, method, tolerance)
    if (affinity.dim() != 4 or maps.dim() != 4 or affinity.shape[1] != len(offsets)
            or affinity.shape[::2] != maps.shape[::2] or affinity.shape[3] != maps.shape[3]):
        raise ValueError(f'random_walk: affinity must be N x {len(offsets)} x h x w (one plane per offset) and maps '
                         f'N x K x h x w, got {list(affinity.shape)} and {list(maps.shape)}')
    if any(offset <= (0, 0) for offset in offsets):
        raise ValueError('random_walk: offsets must be of a half disc: dy > 0, or dy = 0 and dx > 0')
    dtype = torch.promote_types(torch.promote_types(affinity.dtype, maps.dtype), torch.float32)
    transition = _Transition(affinity, offsets, beta, border, dtype)
    values = maps.flatten(2).contiguous() * transition.scale
    if method == 'exact':
        return _walk(transition, values, steps).div_(transition.scale).view(maps.shape)
    values = _chebyshev_walk(transition, values, chebyshev_coefficients(steps, tolerance)[0]).div_(transition.scale)
    # The exact values are in the range of their map; what is not can only come closer to them.
    low, high = maps.to(dtype).flatten(2).aminmax(dim=-1, keepdim=True)
    return values.clamp_(low, high).view(maps.shape)


@TASK_UTILS.register_module()
class RandomWalk:
    """The random walk of AffinityNet and IRNet, see :func:`random_walk`.

    It needs affinities, which a model predicts: give it to the model (``AffinityNet``, ``IRNet``) and not to the list
    of post-processors between CAM and pseudo label.

    Args:
        beta: Exponent of the affinities (AffinityNet 8, IRNet 10).
        steps: Steps of the walk; the 2^8 of AffinityNet and IRNet, SEAM's fork of AffinityNet takes 2^6.
        radius: Pairs closer than this take part, see :func:`mmwsss.models.affinity.half_disc_offsets`.
        border: Which of them: ``'all'`` inside of the map, or ``'crop'`` as AffinityNet's code.
        method: ``'exact'`` or ``'chebyshev'``: fewer products, with an error bound.
        tolerance: Bound of the error of ``'chebyshev'``.

    Attributes:
        offsets: The offsets (dy, dx), to compute affinities for.

    Raises:
        ValueError: For an option that is none of those listed.

    Examples:
        >>> walk = RandomWalk(beta=10)
        >>> edge, cam = torch.rand(2, 1, 32, 40), torch.rand(2, 3, 32, 40)
        >>> walk(edge_affinity(edge, walk.offsets), cam).shape
        torch.Size([2, 3, 32, 40])
    """

    def __init__(self, beta: float = 8, steps: int = 256, radius: int = 5, border: str = 'all', method: str = 'exact',
                 tolerance: float = 1e-4) -> None:
        _check_options('RandomWalk', beta, steps, border, method, tolerance)
        if not isinstance(radius, int) or radius < 2:
            raise ValueError(f'RandomWalk: radius must be a whole number, at least 2 (below there are no pairs), got '
                             f'{radius!r}')
        self.radius = radius
        self.offsets = half_disc_offsets(radius)
        self.options = dict(beta=beta, steps=steps, border=border, method=method, tolerance=tolerance)

    def __call__(self, affinity: Tensor, maps: Tensor, offsets: Sequence[Offset] | None = None) -> Tensor:
        """Walks over a batch.

        Args:
            affinity: N x P x h x w, one plane per offset.
            maps: N x K x h x w.
            offsets: Instead of those of ``radius``, for maps too small for it: see
                :func:`mmwsss.models.affinity.clipped_radius`.

        Returns:
            N x K x h x w, see :func:`random_walk`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        return random_walk(affinity, maps, self.offsets if offsets is None else offsets, **self.options)

    def __repr__(self) -> str:
        options = dict(radius=self.radius, **self.options)
        return f'RandomWalk({", ".join(f"{key}={value!r}" for key, value in options.items())})'


def _check_options(name: str, beta: float, steps: int, border: str, method: str, tolerance: float) -> None:
    if not 0 < beta < math.inf:
        raise ValueError(f'{name}: beta must be above 0, got {beta!r}')
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f'{name}: steps must be a whole number, at least 1, got {steps!r}')
    if border not in BORDERS:
        raise ValueError(f'{name}: border is one of {BORDERS}, got {border!r}')
    if method not in METHODS:
        raise ValueError(f'{name}: method is one of {METHODS}, got {method!r}')
    if not 0 <= tolerance < 1:
        raise ValueError(f'{name}: tolerance must be at least 0 and below 1, got {tolerance!r}')
