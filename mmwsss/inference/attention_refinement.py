"""Refines the CAM of a transformer by its attention: affinity between patches, and attention of the class token."""
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.inference.base import InferenceHook
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput, max_normalize, resize_maps
from mmwsss.utils.autocast import no_autocast
from mmwsss.utils.errors import UserError

TINY = 1e-12


def attention_affinity(blocks: Sequence[Tensor], sinkhorn: int = 0, symmetric: bool = False) -> Tensor:
    """Computes an affinity between patches from the attention of several blocks.

    Their mean; then, as often as ``sinkhorn`` says, columns and after them rows are divided by their sums, which makes
    the matrix doubly stochastic in the limit; then the mean with its transpose.

    Args:
        blocks: Attention among the patches for every block, each N x L x L; row i says what patch i looks at.
        sinkhorn: Number of rounds. 0: every row is divided by its sum once, since special tokens took a part of it.
        symmetric: Whether to take the mean with the transpose.

    Returns:
        N x L x L, non-negative, float32.
    """
    affinity = torch.stack([block.float() for block in blocks]).mean(dim=0)
    for _ in range(sinkhorn):
        affinity = affinity / affinity.sum(dim=1, keepdim=True).clamp(min=TINY)
        affinity = affinity / affinity.sum(dim=2, keepdim=True).clamp(min=TINY)
    if not sinkhorn:
        affinity = affinity / affinity.sum(dim=2, keepdim=True).clamp(min=TINY)
    return (affinity + affinity.transpose(1, 2)) / 2 if symmetric else affinity


def propagate(cam: Tensor, affinity: Tensor, times: int = 1) -> Tensor:
    """Replaces the value of every patch by a mean over patches, weighted by affinity.

    ``cam_i <- sum_j affinity_ij cam_j``, as often as ``times`` says.

    Args:
        cam: N x C x h x w.
        affinity: N x hw x hw.
        times: How often.

    Returns:
        N x C x h x w, float32.
    """
    maps = cam.float().flatten(2).transpose(1, 2)
    with no_autocast(maps.device):
        for _ in range(times):
            maps = affinity.float() @ maps
    return maps.transpose(1, 2).reshape(cam.shape)


@INFERENCE_HOOKS.register_module()
class AttentionRefinement(InferenceHook):
    """Refines the CAM of a transformer by the attention of its blocks; nothing is trained.

    - `MCTformer <https://arxiv.org/abs/2203.02891>`_ (section 3.4) and `WeakTr <https://arxiv.org/abs/2304.01184>`_
      propagate the CAM along the mean attention among the patches: the defaults.
    - `CLIP-ES <https://arxiv.org/abs/2212.09506>`_ (class-aware attention-based affinity, section 3.3): ``sinkhorn=3,
      symmetric=True, times=2``, without its mask of boxes around the CAM.
    - ``class_token=True``: first the CAM is multiplied by what the class token looks at, as WeakTr does with its
      cross-attention. The class token of a plain transformer is not specific to a class:
      it suppresses the background in all maps.

    The backbone returns its attention with ``HFBackbone(attention_blocks=...)``. List the hook after hooks that crop or
    rescale::

        inference_hooks=[dict(type='MultiScaleFlip'), dict(type='AttentionRefinement')]

    Args:
        blocks: How many of the last blocks to use; ``None``: all that the backbone gives.
        times: How often the CAM is propagated; 0: not at all, which needs ``class_token``.
        sinkhorn: See :func:`attention_affinity`.
        symmetric: See :func:`attention_affinity`.
        class_token: Multiply by the attention of the first special token, averaged over the blocks and divided by its
            maximum.

    Raises:
        ValueError: For a number out of range, or when nothing would be done.
    """

    def __init__(self, blocks: int | None = None, times: int = 1, sinkhorn: int = 0, symmetric: bool = False,
                 class_token: bool = False) -> None:
        if (blocks is not None and blocks < 1) or times < 0 or sinkhorn < 0 or (times == 0 and not class_token):
            raise ValueError('AttentionRefinement: blocks is at least 1 or None, sinkhorn and times at least 0, and '
                             f'times=0 needs class_token; got {blocks}, {sinkhorn}, {times}')
        self.blocks, self.times, self.sinkhorn = blocks, times, sinkhorn
        self.symmetric, self.class_token = symmetric, class_token

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`.

        Returns:
            The CAM at the resolution of the patches.

        Raises:
            UserError: If the CAM comes without attention, or with that of fewer blocks or tokens than are needed.
        """
        output = cam_function(inputs, labels)
        attentions = output.attentions
        if attentions is None:
            raise UserError('AttentionRefinement: the CAM comes without attention; give the backbone (HFBackbone of a '
                            'ViT) attention_blocks, and list the hook after those that crop or rescale: '
                            "inference_hooks=[dict(type='MultiScaleFlip'), dict(type='AttentionRefinement')]")
        count = self.blocks or len(attentions.blocks)
        if count > len(attentions.blocks):
            raise UserError(f'AttentionRefinement: blocks={count}, but the backbone gives the attention of '
                            f'{len(attentions.blocks)}; set attention_blocks of the backbone')
        cam = resize_maps(output.cam, attentions.grid)
        if self.class_token:
            if not attentions.num_special:
                raise UserError('AttentionRefinement: class_token=True, but the backbone has no class token')
            looks = torch.stack(attentions.special_to_patch()[-count:]).mean(dim=0)[:, :1]
            cam = cam * max_normalize(looks, eps=TINY)
        if self.times and cam.shape[1]:
            affinity = attention_affinity(attentions.patch_to_patch()[-count:], self.sinkhorn, self.symmetric)
            cam = propagate(cam, affinity, self.times)
        return replace(output, cam=F.relu(cam))
