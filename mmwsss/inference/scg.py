"""SCG: self-correlation map generating."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmwsss.inference.self_affinity import (
    BLOCK_LIMIT,
    BlockedMatrix,
    SelfAffinityHook,
    cosine_normalize,
    diagonal,
    finest_size,
    over_images,
)
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures.maps import max_normalize, resize_maps

ORDERS = ('first', 'second', 'both')


def _over_column_sums(block: Tensor) -> Tensor:
    sums = block.sum(dim=1, keepdim=True)
    return block / torch.where(sums == 0, 1, sums)


def self_correlation(feats: Tensor, order: str, th1: float, th2: float, width: int) -> BlockedMatrix:
    """Self-correlation of a feature map.

    First order: ``relu(f^T f)`` of the features with norm one, entries below ``th1`` zeroed, columns divided by their
    sums. Second order: the same with a zero diagonal, multiplied by itself, entries below ``th2 / M`` zeroed. A column
    without any entry stays zero.

    Args:
        feats: N x K x M features of one stage.
        order: ``'first'``, ``'second'``, or ``'both'``: the larger of the two per entry, columns divided by their sums
            again.
        th1: Least cosine.
        th2: Least second-order entry, as a multiple of the uniform one, 1 / M.
        width: Columns of a block.

    Returns:
        M x M matrices, non-negative.

    Raises:
        ValueError: For another ``order``.
    """
    if order not in ORDERS:
        raise ValueError(f'self_correlation: order is one of {ORDERS}, got {order!r}')
    feats = cosine_normalize(feats)
    size = feats.shape[-1]

    def correlation(start: int, stop: int) -> Tensor:
        block = feats.transpose(1, 2) @ feats[..., start:stop]
        return block.relu_().mul_(block >= th1)

    def first(start: int, stop: int) -> Tensor:
        return _over_column_sums(correlation(start, stop))

    def without_diagonal(start: int, stop: int) -> Tensor:
        block = correlation(start, stop)
        diagonal(block, start).zero_()
        return _over_column_sums(block)

    if order == 'first':
        return BlockedMatrix(first, size, width)
    step = BlockedMatrix(without_diagonal, size, width)

    def second(start: int, stop: int) -> Tensor:
        right = step.columns(start, stop)
        block = torch.zeros_like(right, memory_format=torch.contiguous_format)
        for low, high in step.ranges():
            left = right if (low, high) == (start, stop) else step.columns(low, high)
            block.baddbmm_(left, right[:, low:high])
            del left  # before the next one is computed
        return block.mul_(block >= th2 / size)

    if order == 'second':
        return BlockedMatrix(second, size, width)
    return BlockedMatrix(lambda start, stop: _over_column_sums(torch.maximum(first(start, stop), second(start, stop))),
                         size, width)


def evidence(correlation: BlockedMatrix, positions: Tensor, minmax: bool = False) -> Tensor:
    """Averages the columns of a correlation over chosen positions.

    Args:
        correlation: N matrices of M x M.
        positions: N x C x M bools, the positions chosen for every class.
        minmax: Shift and scale every column, and then every average, to [0, 1], as the code of SPA does.

    Returns:
        N x C x M: how much the chosen positions correlate with every position; zero where none are chosen.
    """
    total = 0
    for start, stop in correlation.ranges():
        block = correlation.columns(start, stop)
        if minmax:
            block = _minmax(block, dim=1)
        total = total + positions[..., start:stop].to(block) @ block.transpose(1, 2)
        del block  # before the next one is computed
    mean = total / positions.sum(dim=-1, keepdim=True).clamp(min=1)
    return _minmax(mean, dim=-1) if minmax else mean


def _minmax(values: Tensor, dim: int) -> Tensor:
    low, high = values.amin(dim, keepdim=True), values.amax(dim, keepdim=True)
    return (values - low) / torch.where(high == low, 1, high - low)


def self_correlation_map(cam: Tensor, feats: Tensor, order: str, th1: float, th2: float, foreground: float,
                         background: float, minmax: bool = False, block_limit: int = BLOCK_LIMIT) -> Tensor:
    """Computes a map of every class from the self-correlation of one stage: positive minus negative evidence.

    Args:
        cam: N x C x h x w, non-negative.
        feats: N x K x h x w features of the stage, on the same grid.
        order: See :func:`self_correlation`.
        th1: See there.
        th2: See there.
        foreground: Positions with at least this share of the CAM's maximum (per image and class) are positive evidence.
        background: Positions with at most this share are negative evidence.
        minmax: See :func:`evidence`.
        block_limit: Entries of the largest block of a matrix. The result does not depend on it but for rounding.

    Returns:
        N x C x h x w, float32 (float64 for float64), non-negative with a maximum of 1; zero for an empty CAM and where
        nothing has more positive than negative evidence.

    Raises:
        ValueError: For another ``order``.
    """
    def refine(cam: Tensor, feats: Tensor, width: int) -> Tensor:
        correlation = self_correlation(feats, order, th1, th2, width)
        # One pass over the correlation for both.
        chosen = torch.cat([cam >= foreground, cam <= background], dim=1)
        positive, negative = evidence(correlation, chosen, minmax).chunk(2, dim=1)
        # An average is about 1 / hw: without the factor, max_normalize would take it for an empty map.
        return (positive - negative).relu() * cam.shape[-1]

    return max_normalize(over_images(refine, max_normalize(cam), feats, block_limit))


@INFERENCE_HOOKS.register_module()
class SCG(SelfAffinityHook):
    """Self-correlation map generating: maps of what correlates with the CAM's foreground but not its background.

    From `Unveiling the Potential of Structure Preserving for Weakly Supervised Object Localization
    <https://arxiv.org/abs/2103.04523>`_ (SPA, CVPR 2021), which SSA is compared with. The maps of several stages
    are combined by their maximum, as in SPA's code.

    Every map has a maximum of 1, whatever the CAM's was: all scales of MultiScaleFlip weigh the same. List the
    hook after hooks that crop or rescale::

        inference_hooks=[dict(type='MultiScaleFlip'), dict(type='SCG')]

    Args:
        stages: Names of feature maps of the model, see :class:`mmwsss.inference.SSA`.
        order: ``'first'``, ``'second'``, or ``'both'``: the larger of the two, as SPA's evaluation does.
        th1: Cosines below are zeroed (SPA: 0.1 to 0.2).
        th2: Second-order correlations below ``th2 / hw`` are zeroed (SPA: 0.2 to 0.5).
        foreground: Least share of a CAM's maximum that is positive evidence.
        background: Greatest share that is negative evidence.
        minmax: Bring every column of the correlation, and every evidence, to [0, 1] before the difference, as SPA's
            code does. Negative evidence then weighs as much as positive evidence.
        block_limit: Entries of the largest block of a correlation matrix; up to six blocks of four bytes an entry exist
            at a time. An image that does not fit is computed by B = ceil(hw^2 / block_limit) blocks of columns, with
            the same result; for the second order B^2 blocks are computed.

    Raises:
        ValueError: For an option that is not listed here, a negative threshold, or ``background`` that is not below
            ``foreground``.
    """

    def __init__(self, stages: str | int | Sequence[str | int] = ('2', '3'), order: str = 'both', th1: float = 0.2,
                 th2: float = 0.2, foreground: float = 0.1, background: float = 0.05, minmax: bool = False,
                 block_limit: int = BLOCK_LIMIT) -> None:
        super().__init__(stages, block_limit)
        if order not in ORDERS:
            raise ValueError(f'SCG: order is one of {ORDERS}, got {order!r}')
        if min(th1, th2, background) < 0 or background >= foreground:
            raise ValueError(f'SCG: th1, th2 and background must not be negative, and background below foreground; got '
                             f'{th1}, {th2}, {background} and {foreground}')
        self.options = dict(order=order, th1=th1, th2=th2, foreground=foreground, background=background, minmax=minmax,
                            block_limit=block_limit)

    def refine(self, cam: Tensor, feats: list[Tensor]) -> Tensor:
        """Makes the map of every stage and takes the maximum; see :meth:`SelfAffinityHook.refine`."""
        size = finest_size(cam, *feats)
        maps = [self_correlation_map(resize_maps(cam, feat.shape[-2:]), feat, **self.options) for feat in feats]
        return torch.stack([resize_maps(m, size) for m in maps]).amax(dim=0)
