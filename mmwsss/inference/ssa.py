"""SSA: semantic structure aware inference."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.inference.self_affinity import (
    BLOCK_LIMIT,
    NORMALIZATIONS,
    SUMS,
    SelfAffinityHook,
    finest_size,
    over_images,
    semantic_structure,
)
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures.maps import max_normalize, resize_maps


def expand_seed(seed: Tensor, feats: Tensor, num_blocks: int, normalize: str, sum: str,
                block_limit: int = BLOCK_LIMIT, power: float | None = None) -> Tensor:
    """Expands a seed CAM by the semantic structure of one stage: ``CP = C S`` (eq. 7).

    Args:
        seed: N x C x h x w, the seed CAM C, non-negative.
        feats: N x K x h x w features of the stage, on the same grid.
        num_blocks: See :func:`mmwsss.inference.self_affinity.semantic_structure`.
        normalize: ``'cosine'`` or ``'printed'``, see there.
        sum: ``'column'`` or ``'all'``, see there.
        block_limit: Entries of the largest block of S. The result does not depend on it but for rounding.
        power: See :func:`mmwsss.inference.self_affinity.semantic_structure`.

    Returns:
        N x C x h x w, non-negative, float32 (float64 for float64). With ``sum='column'`` every value is a mean of the
        seed, with weights; with ``'all'`` it is about hw times smaller.

    Raises:
        ValueError: For another ``normalize`` or ``sum``.
    """
    def walk(seed: Tensor, feats: Tensor, width: int) -> Tensor:
        return semantic_structure(feats, num_blocks, normalize, sum, width, power).left_times(seed)

    return over_images(walk, seed, feats, block_limit)


def fuse(maps: Sequence[Tensor], wsss: bool) -> Tensor:
    """Fuses the expanded CAMs of several stages: ``CP = CP_4 + CP_5`` (eq. 8).

    Args:
        maps: The expanded CAM of every stage, each ... x h x w.
        wsss: Cross guidance (section 4.2): with ``SM_s = HardTanh(CP_s, 0, 1)``, ``SM_4`` is multiplied into ``CP_5``
            and ``SM_5`` into ``CP_4`` before the sum. Of more than two stages, which the paper does not speak of,
            each is guided by all others.

    Returns:
        Maps of the same shape.
    """
    if wsss:
        guides = [F.hardtanh(cam, 0, 1) for cam in maps]
        guided = []
        for stage, cam in enumerate(maps):
            for other, guide in enumerate(guides):
                if other != stage:
                    cam = cam * guide
            guided.append(cam)
        maps = guided
    return torch.stack(list(maps)).sum(dim=0)


@INFERENCE_HOOKS.register_module()
class SSA(SelfAffinityHook):
    """Semantic structure aware inference: expands a CAM along the self-affinity of the features.

    `SSA: Semantic Structure Aware Inference for Weakly Pixel-Wise Dense Predictions without Cost
    <https://arxiv.org/abs/2111.03392>`_. Without parameters and without training: for every stage s an affinity S_s
    between all positions is computed from the features (section 3.2), the CAM is multiplied by it, and the results
    are summed (section 3.3). Stages of another resolution: the CAM is resized to the stage's grid and the
    product to the finest grid of the CAM and the stages.

    The paper leaves open how eq. 2 and eq. 5 are meant and what one block is normalised by; there is no public code.
    Both are switches, and a single block is normalised by eq. 5 as two are.

    List it after hooks that crop or rescale::

        inference_hooks=[dict(type='MultiScaleFlip'), dict(type='SSA')]

    Args:
        stages: The stages s, names of feature maps of the model: ``'0'``, ``'1'``, ... in the order in which it returns
            them. For mmseg's ResNet50 ``'2'`` is the paper's stage 4 (layer3) and ``'3'`` its stage 5 (layer4).
            Other backbones: see configs/ssa/README.md.
        num_blocks: Number of self-affinity blocks (Table 1: 1, 2 and 3; the paper finds 2 best).
        normalize: Reading of eq. 2. ``'cosine'``: every position has norm one over the channels, so that S' is a
            correlation. ``'printed'``: every channel is divided by the square root of its sum over the positions;
            only for features after a ReLU: negative ones are set to zero.
        sum: Reading of eq. 5. ``'column'``: every column of S by its sum. ``'all'``: by the sum of all entries, as
            printed; the product is then multiplied by hw, a constant, as otherwise small scales and coarse stages
            would weigh more for being small.
        wsss: The cross guidance of section 4.2 between the stages, see :func:`fuse`. A guide says nothing where it is
            above 1, and expanded CAMs of a trained classifier mostly are: their unit is that of the class scores.
        normalize_seed: Divide the CAM by its maximum (per image and class) first. The paper does not speak of it, but
            a guide's range of [0, 1] takes such a unit. All scales of MultiScaleFlip then weigh the same.
        block_limit: Entries of the largest block of S. 2 ``num_blocks`` blocks of four bytes an entry exist at a
            time. S of an image that does not fit is computed by B = ceil(hw^2 / block_limit) blocks of columns,
            and B^num_blocks times such a block is computed (twice as often with ``sum='all'``); the result is the same.
        power: Not of the paper: the affinity of two positions is ``relu(cosine)^power``, a position's to itself
            included, instead of eq. 3 and eq. 4. For features that are similar all over an image, as those of
            transformers (:class:`mmwsss.inference.ExternalFeatures`): 4 to 8 with one block. The higher, the nearer
            the result is to the CAM. ``None``: as in the paper.

    Raises:
        ValueError: For an option that is not listed here, ``wsss`` with a single stage, or a power that is not above 0.
    """

    def __init__(self, stages: str | int | Sequence[str | int] = ('2', '3'), num_blocks: int = 2,
                 normalize: str = 'cosine', sum: str = 'column', wsss: bool = False, normalize_seed: bool = False,
                 block_limit: int = BLOCK_LIMIT, power: float | None = None) -> None:
        super().__init__(stages, block_limit)
        if not isinstance(num_blocks, int) or num_blocks < 1:
            raise ValueError(f'SSA: num_blocks must be a whole number, at least 1, got {num_blocks}')
        for option, value, known in (('normalize', normalize, NORMALIZATIONS), ('sum', sum, SUMS)):
            if value not in known:
                raise ValueError(f'SSA: {option} is one of {known}, got {value!r}')
        if wsss and len(self.stages) < 2:
            raise ValueError(f'SSA: with wsss=True stages guide each other, so at least two are needed, got {stages}')
        if power is not None and not 0 < power < float('inf'):
            raise ValueError(f'SSA: power must be above 0, got {power}')
        self.num_blocks = num_blocks
        self.normalize = normalize
        self.sum = sum
        self.wsss = wsss
        self.normalize_seed = normalize_seed
        self.power = power

    def refine(self, cam: Tensor, feats: list[Tensor]) -> Tensor:
        """Expands the CAM by every stage and fuses the results; see :meth:`SelfAffinityHook.refine`."""
        size = finest_size(cam, *feats)
        if self.normalize_seed:
            cam = max_normalize(cam)
        maps = []
        for feat in feats:
            seed = resize_maps(cam, feat.shape[-2:])
            expanded = expand_seed(seed, feat, self.num_blocks, self.normalize, self.sum, self.block_limit, self.power)
            if self.sum == 'all':
                expanded = expanded * (feat.shape[-2] * feat.shape[-1])
            maps.append(resize_maps(expanded, size))
        return fuse(maps, self.wsss)
