"""Self-affinity of feature maps in bounded memory: what SSA and SCG are made of.

An affinity between all positions of a feature map has hw x hw entries. :class:`BlockedMatrix` computes it by blocks
of columns; the functions build one from another, in the order of the paper's equations.
"""
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.inference.base import InferenceHook
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.utils.autocast import no_autocast
from mmwsss.utils.errors import UserError

NORMALIZATIONS = ('cosine', 'printed')
SUMS = ('column', 'all')
# Entries of the largest block, over the images in it: 128 MiB in float32. One image is in one block up to
# hw = 5,792 (a 500x375 image at scale 2 and stride 16 has 2,950).
BLOCK_LIMIT = 2**25


class BlockedMatrix:
    """N square matrices of M x M entries, computed by blocks of columns.

    Where a block holds all columns the matrices are computed once and kept. Otherwise every access computes its
    columns anew, so that no more than a few blocks exist at any time.

    Args:
        columns: (start, stop) -> N x M x (stop - start), the columns ``start`` to ``stop`` (excluded).
        size: M.
        width: Columns of a block, at least 1.
    """

    def __init__(self, columns: Callable[[int, int], Tensor], size: int, width: int) -> None:
        self.size, self.width = size, width
        self._columns = columns
        if width >= size:
            whole = columns(0, size)
            # What it was made from is let go.
            self._columns = lambda start, stop: whole[..., start:stop]

    def columns(self, start: int, stop: int) -> Tensor:
        """Returns the columns ``start`` to ``stop`` (excluded), N x M x (stop - start); not to be written into."""
        return self._columns(start, stop)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yields the blocks of columns as (start, stop)."""
        for start in range(0, self.size, self.width):
            yield start, min(start + self.width, self.size)

    def dense(self) -> Tensor:
        """Returns the whole matrices, N x M x M."""
        return torch.cat([self.columns(*block) for block in self.ranges()], dim=-1)

    def left_times(self, rows: Tensor) -> Tensor:
        """Multiplies from the left: rows N x R x M times the matrices, N x R x M."""
        return torch.cat([rows @ self.columns(*block) for block in self.ranges()], dim=-1)


def block_shape(size: int, block_limit: int) -> tuple[int, int]:
    """Returns how many images and columns of M x M matrices a block holds.

    Args:
        size: M.
        block_limit: Entries of a block. At least one column of one image is in it, however small the limit.

    Returns:
        (images, columns): several whole images, or some columns of one.
    """
    return max(1, block_limit // size**2), max(1, min(size, block_limit // size))


def cosine_normalize(feats: Tensor) -> Tensor:
    """Eq. 2 as the cosine that the text describes: every position is divided by its L2 norm over the channels.

    Args:
        feats: N x K x M.

    Returns:
        N x K x M; positions of norm one, a position without any activation stays zero.
    """
    # First by the largest magnitude: squares of large activations would not be finite.
    peak = feats.abs().amax(dim=1, keepdim=True)
    feats = feats / torch.where(peak == 0, 1, peak)
    return feats / feats.norm(dim=1, keepdim=True).clamp(min=1)


def printed_normalize(feats: Tensor) -> Tensor:
    """Eq. 2 as printed: every channel is divided by the square root of its sum over the positions.

    That is not a number where a channel's sum is negative, so it is for features after a ReLU; the ReLU is applied
    here, where it changes nothing for such features.

    Args:
        feats: N x K x M.

    Returns:
        N x K x M, non-negative; a channel without any activation stays zero.
    """
    feats = F.relu(feats)
    total = feats.sum(dim=2, keepdim=True)
    return feats / torch.where(total == 0, 1, total).sqrt()


def gated_affinity(feats: Tensor, width: int) -> BlockedMatrix:
    """First self-affinity block and smooth gate.

    ``S' = f^T f - I`` (eq. 3), ``S'_new = tanh(S') * S'`` (eq. 4). With the identity, what a position says of itself is
    taken away. The gate is an even function: for features that are not rectified, a negative affinity counts as much
    as a positive one.

    Args:
        feats: N x K x M features, normalised by eq. 2.
        width: Columns of a block.

    Returns:
        M x M matrices, symmetric and non-negative.
    """
    def columns(start: int, stop: int) -> Tensor:
        block = feats.transpose(1, 2) @ feats[..., start:stop]
        diagonal(block, start).sub_(1)
        return torch.tanh(block).mul_(block)

    return BlockedMatrix(columns, feats.shape[-1], width)


def power_affinity(feats: Tensor, power: float, width: int) -> BlockedMatrix:
    """Affinity by a power of the cosine: ``relu(f^T f)^p``, entry by entry, with the diagonal.

    Not of the paper. The features of a transformer trained without labels are similar all over an image, so that a
    cosine itself spreads a CAM over everything; a power keeps what is alike. A negative cosine is no affinity.

    Args:
        feats: N x K x M features, normalised by eq. 2.
        power: p, above 0.
        width: Columns of a block.

    Returns:
        M x M matrices, symmetric and non-negative.
    """
    def columns(start: int, stop: int) -> Tensor:
        return (feats.transpose(1, 2) @ feats[..., start:stop]).relu_().pow_(power)

    return BlockedMatrix(columns, feats.shape[-1], width)


def sum_normalize(matrix: BlockedMatrix, sum: str) -> BlockedMatrix:
    """Divides matrices by the sums of their entries (eq. 5).

    Where a sum is zero no position is related to another, as in a map of one position; every position is then taken
    to be related to itself only.

    Args:
        matrix: M x M matrices, non-negative.
        sum: ``'column'``: every column by its own sum over the positions, as SPA's SCG does. ``'all'``: the sum of
            all entries, as printed; above one block it takes a pass over the matrix of its own.

    Returns:
        M x M matrices whose columns (``'column'``), or all entries together (``'all'``), sum up to one.

    Raises:
        ValueError: For another ``sum``.
    """
    if sum not in SUMS:
        raise ValueError(f'sum_normalize: sum is one of {SUMS}, got {sum!r}')
    total = None
    if sum == 'all':
        total = torch.stack([matrix.columns(*block).sum(dim=(1, 2)) for block in matrix.ranges()]).sum(dim=0)
        total = total[:, None, None]

    def columns(start: int, stop: int) -> Tensor:
        block = matrix.columns(start, stop)
        sums = block.sum(dim=1, keepdim=True) if total is None else total
        alone = sums == 0
        block = block / torch.where(alone, 1, sums)
        diagonal(block, start).add_(alone.squeeze(1) * (1 if total is None else 1 / matrix.size))
        return block

    return BlockedMatrix(columns, matrix.size, matrix.width)


def second_affinity(matrix: BlockedMatrix) -> BlockedMatrix:
    """Second (and any further) self-affinity block: ``S'' = relu(S~^T S~ - I)`` (eq. 6).

    Each of the ceil(M / width) blocks of columns of the result needs all columns of ``matrix``, which are computed anew
    where they do not fit into one block.

    Args:
        matrix: M x M matrices S~, normalised by eq. 5.

    Returns:
        M x M matrices, symmetric and non-negative.
    """
    def columns(start: int, stop: int) -> Tensor:
        right = matrix.columns(start, stop)
        result = torch.empty_like(right, memory_format=torch.contiguous_format)
        for block in matrix.ranges():
            left = right if block == (start, stop) else matrix.columns(*block)
            result[:, slice(*block)] = left.transpose(1, 2) @ right
            del left  # before the next one is computed
        diagonal(result, start).sub_(1)
        return result.relu_()

    return BlockedMatrix(columns, matrix.size, matrix.width)


def diagonal(block: Tensor, start: int) -> Tensor:
    """Returns a view N x B of the entries of a block of columns, N x M x B from column ``start``, on the diagonal."""
    return block[:, start:start + block.shape[-1]].diagonal(dim1=1, dim2=2)


def semantic_structure(feats: Tensor, num_blocks: int, normalize: str, sum: str, width: int,
                       power: float | None = None) -> BlockedMatrix:
    """Semantic structure modelling (SSM, section 3.2): how much a position belongs together with any other.

    Args:
        feats: N x K x M features of one stage.
        num_blocks: Number of self-affinity blocks (Table 1), at least 1. Where the matrix does not fit into one block
            of ``width`` columns, it is the power of the number of blocks that the time grows with.
        normalize: Reading of eq. 2: ``'cosine'`` (:func:`cosine_normalize`) or ``'printed'``
            (:func:`printed_normalize`).
        sum: Reading of eq. 5, see :func:`sum_normalize`.
        width: Columns of a block.
        power: The first block's affinity is :func:`power_affinity`, instead of eq. 3 and eq. 4.

    Returns:
        M x M matrices, normalised by eq. 5; column b holds the weights of all positions for position b.

    Raises:
        ValueError: For another ``normalize`` or ``sum``.
    """
    if normalize not in NORMALIZATIONS:
        raise ValueError(f'semantic_structure: normalize is one of {NORMALIZATIONS}, got {normalize!r}')
    feats = cosine_normalize(feats) if normalize == 'cosine' else printed_normalize(feats)  # eq. 2
    affinity = gated_affinity(feats, width) if power is None else power_affinity(feats, power, width)  # eq. 3, 4
    structure = sum_normalize(affinity, sum)  # eq. 5
    for _ in range(num_blocks - 1):
        structure = sum_normalize(second_affinity(structure), sum)  # eq. 6, 5
    return structure


@torch.no_grad()
def over_images(function: Callable[[Tensor, Tensor, int], Tensor], maps: Tensor, feats: Tensor,
                block_limit: int) -> Tensor:
    """Applies a function of maps and features to as many images at a time as ``block_limit`` allows.

    It computes in float32 (float64 for float64), whatever the inputs and within autocast.

    Args:
        function: (maps n x C x hw, feats n x K x hw, columns of a block) -> maps n x C x hw.
        maps: N x C x h x w.
        feats: N x K x h x w.
        block_limit: Entries of a block of a hw x hw matrix, see :func:`block_shape`.

    Returns:
        N x C x h x w. Without classes (C = 0) ``function`` is not called.
    """
    dtype = torch.promote_types(torch.promote_types(maps.dtype, feats.dtype), torch.float32)
    if maps.shape[1] == 0:
        return maps.to(dtype)
    images, width = block_shape(maps.shape[-2] * maps.shape[-1], block_limit)
    with no_autocast(maps.device):
        results = [function(m.to(dtype), f.to(dtype), width)
                   for m, f in zip(maps.flatten(2).split(images), feats.flatten(2).split(images))]
    return torch.cat(results).view(maps.shape)


def finest_size(*maps: Tensor) -> tuple[int, int]:
    """Returns the largest height and the largest width of several maps ... x h x w."""
    return max(m.shape[-2] for m in maps), max(m.shape[-1] for m in maps)


class SelfAffinityHook(InferenceHook):
    """An inference hook that refines a CAM with the features it was made from.

    It needs the features that the CAM function gives with the CAM, so it stands inside of hooks that crop or
    rescale. It passes scores and features on. It gates nothing, but where labels are known it leaves out the classes
    that no image of the batch has: their maps are zero.

    Args:
        stages: Names of the features to use, keys of :attr:`mmwsss.structures.CAMOutput.feats`; one name or several.
        block_limit: Entries of the largest block of an affinity matrix, see :func:`block_shape`.

    Raises:
        ValueError: Without stages, with one twice, or for a ``block_limit`` below 1.
    """

    def __init__(self, stages: str | int | Sequence[str | int], block_limit: int) -> None:
        if isinstance(stages, (str, int)):
            stages = (stages,)
        self.stages = tuple(str(stage) for stage in stages)
        name = type(self).__name__
        if not self.stages or len(set(self.stages)) < len(self.stages):
            raise ValueError(f"{name} needs stages, each once, such as ('2', '3'); got {stages}")
        if not isinstance(block_limit, int) or block_limit < 1:
            raise ValueError(f'{name}: block_limit must be a whole number, at least 1, got {block_limit}')
        self.block_limit = block_limit

    @abstractmethod
    def refine(self, cam: Tensor, feats: list[Tensor]) -> Tensor:
        """Refines CAMs.

        Args:
            cam: N x C x h x w, non-negative; C may be 0.
            feats: The features of every stage, N x K x h' x w', each with its own K, h' and w'.

        Returns:
            N x C x h'' x w'', non-negative.
        """

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`.

        Raises:
            UserError: If the CAM comes without features, or a stage is not among them.
        """
        output = cam_function(inputs, labels)
        feats = self._features(output)
        if labels is None:
            return replace(output, cam=self.refine(output.cam, feats))
        present = (labels > 0).any(dim=0).nonzero().flatten()
        refined = self.refine(output.cam[:, present], feats)
        cam = refined.new_zeros(*output.cam.shape[:2], *refined.shape[-2:])
        return replace(output, cam=cam.index_copy(1, present, refined))

    def _features(self, output: CAMOutput) -> list[Tensor]:
        name = type(self).__name__
        if not output.feats:
            raise UserError(f'{name}: the CAM comes without features, as those from several scales or crops (or from '
                            f'some CAM providers) do; list {name} after the hooks that crop or rescale: '
                            f"inference_hooks=[dict(type='MultiScaleFlip'), dict(type='{name}')]")
        for stage in self.stages:
            if stage not in output.feats:
                raise UserError(f'{name}: stages names {stage!r}, but the model has the stages '
                                f'{", ".join(repr(known) for known in output.feats)}; set stages of {name} in '
                                'inference_hooks')
        return [output.feats[stage] for stage in self.stages]
