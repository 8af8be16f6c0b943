"""The loss of the multi-scale attentive module (MAM) and of its ablations."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmwsss.models.losses.global_mean import global_mean
from mmwsss.structures.maps import max_normalize
from mmwsss.utils.autocast import at_least_float32, no_autocast

# The least length of a map; one that is not empty has a maximum of one, and so a length above one.
EPS = 1e-5
MODES = ('mam', 'mmm', 'smm')
REDUCTIONS = ('mean', 'sum')


def multi_scale_cam(maps: Sequence[Tensor]) -> Tensor:
    """Aggregates the CAMs of several scales ("msinf-CAM").

    Args:
        maps: S tensors N x C x h x w in [0, 1], each map divided by its maximum, all resized to one size.

    Returns:
        N x C x h x w, at least float32: their mean, divided by its maximum again.
    """
    return max_normalize(torch.stack([at_least_float32(x) for x in maps]).mean(dim=0))


def scale_attention(main_maps: Tensor, support_maps: Tensor) -> Tensor:
    """Weighs SupportNet's scale j for MainNet's scale i by how much their CAMs differ (eq. 6).

    ``xi_ij = 2 - A_i^F . A_j^G / (||A_i^F||_2 ||A_j^G||_2)``, one for each image and class.

    Args:
        main_maps: S x ... x h x w, A^F, non-negative.
        support_maps: S x ... x h x w, A^G, non-negative.

    Returns:
        S x S x ..., i before j, in [1, 2]; 2 where one of the two maps is empty.
    """
    main, support = (at_least_float32(maps).flatten(-2) for maps in (main_maps, support_maps))
    with no_autocast(main.device):
        products = torch.einsum('i...p,j...p->ij...', main, support)
    lengths, support_lengths = (torch.linalg.vector_norm(x, dim=-1).clamp(min=EPS) for x in (main, support))
    return 2 - products / (lengths[:, None] * support_lengths)


def attention_targets(main_maps: Tensor, support_maps: Tensor, detach_attention: bool = True) -> Tensor:
    """Makes the maps that MAM pulls MainNet's to (eq. 7): ``1/S sum_j xi_ij A_j^G``.

    No gradient flows into SupportNet.

    Args:
        main_maps: S x ... x h x w, A^F, non-negative.
        support_maps: S x ... x h x w, A^G, non-negative.
        detach_attention: Whether they are targets, and no gradient flows through the attention into MainNet either.

    Returns:
        S x ... x h x w, in [0, 2] for maps in [0, 1].
    """
    support_maps = support_maps.detach()
    attention = scale_attention(main_maps.detach() if detach_attention else main_maps, support_maps)
    with no_autocast(main_maps.device):
        weighted = torch.einsum('ij...,j...hw->i...hw', attention, support_maps.to(attention.dtype))
    return weighted / len(support_maps)


def multi_scale_attention(main_cams: Sequence[Tensor], support_cams: Sequence[Tensor], labels: Tensor,
                          mode: str = 'mam', reduction: str = 'mean', reference_index: int = 1,
                          skip_empty: bool = False, renormalize: bool = False,
                          detach_attention: bool = True) -> Tensor:
    """Pulls MainNet's CAMs of all scales to what SupportNet knows from all scales (eq. 8 and Table 1).

    ``sum_k sum_i || target_i^k - A_i^{F,k} ||_1`` over the classes k of an image and the scales i, with the mean over
    the pixels as norm, then the mean over the images of all ranks (those without any class count, with 0).

    Args:
        main_cams: S tensors N x C x h x w in [0, 1] of one size, MainNet's.
        support_cams: The same of SupportNet, in the same order; no gradient flows into them.
        labels: N x C, multi-hot.
        mode: ``'mam'``: the targets are :func:`attention_targets`; ``'mmm'`` (multi-multi): the target of every scale
            is the mean over SupportNet's scales, which is eq. 7 without attention; ``'smm'`` (single-multi): the same,
            and only the scale ``reference_index`` counts.
        reduction: ``'mean'`` or ``'sum'`` over the pixels; the latter is the L1 norm, and depends on the size.
        reference_index: Place of ratio 1 among the scales.
        skip_empty: Leave out classes of an image for which SupportNet has no CAM at any scale. By the paper their
            target is zero, which keeps a class empty that has not been learned yet.
        renormalize: Whether the targets are divided by their maximum; those of ``'mmm'`` and ``'smm'`` then are
            :func:`multi_scale_cam`.
        detach_attention: See :func:`attention_targets`.

    Returns:
        A scalar, at least float32; 0 if no image has a class.

    Raises:
        ValueError: For another ``mode`` or ``reduction``.
    """
    for name, value, known in (('mode', mode, MODES), ('reduction', reduction, REDUCTIONS)):
        if value not in known:
            raise ValueError(f'multi_scale_attention: {name} is one of {", ".join(known)}, got {value!r}')
    present = labels.bool()
    if skip_empty:
        present = present & torch.stack([cam.detach().flatten(2).amax(dim=2) > 0 for cam in support_cams]).any(dim=0)
    # One map for each class of each image: S x P x h x w.
    main = torch.stack([at_least_float32(cam[present]) for cam in main_cams])
    support = torch.stack([at_least_float32(cam.detach()[present]) for cam in support_cams])
    if mode == 'mam':
        target = attention_targets(main, support, detach_attention)
    else:
        target = support.mean(dim=0, keepdim=True)
        if mode == 'smm':
            main = main[reference_index:][:1]
    if renormalize:
        target = max_normalize(target)
    distance = (target - main).abs()
    distance = distance.mean(dim=(-2, -1)) if reduction == 'mean' else distance
    return global_mean(distance.sum(), torch.tensor(len(labels), device=labels.device))
