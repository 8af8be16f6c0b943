"""Equivariant cross regularisation (ECR) with online hard example mining."""
import torch
from torch import Tensor, nn

from mmwsss.registry import MODELS


def with_background(foreground: Tensor) -> Tensor:
    """Puts the background ``1 - max_c`` (eq. 11) before foreground maps N x C x h x w."""
    return torch.cat([1 - foreground.amax(dim=1, keepdim=True), foreground], dim=1)


def keep_highest_foreground(maps: Tensor) -> Tensor:
    """Sets every foreground entry that is not the largest of its pixel to zero.

    Args:
        maps: N x (C + 1) x h x w, background first.

    Returns:
        The same shape; background and the largest foreground value of each pixel are as they were.
    """
    foreground = maps[:, 1:]
    highest = foreground.amax(dim=1, keepdim=True)
    return torch.cat([maps[:, :1], foreground.where(foreground >= highest, foreground.new_zeros(()))], dim=1)


def equivariant_cross_regularization(cam: Tensor, revised: Tensor, hard_ratio: float = 0.2) -> Tensor:
    """Pulls the revised maps of one view to the CAM of the other (one of the two terms of SEAM's eq. 10).

    ``|keep_highest_foreground(cam) - revised|``; per image the mean of its largest
    ``k = floor(hard_ratio * (C + 1) * h * w)`` entries (online hard example mining), then the mean over images.

    Args:
        cam: N x (C + 1) x h x w maps in [0, 1], background first; no gradient flows into them.
        revised: N x (C + 1) x h x w.
        hard_ratio: Share of entries that count; 1 is all of them.

    Returns:
        A scalar.
    """
    difference = (keep_highest_foreground(cam.detach().float()) - revised.float()).abs().flatten(1)
    if hard_ratio < 1:
        count = max(1, int(hard_ratio * difference.shape[1]))
        difference = difference.topk(count, dim=1, sorted=False).values
    return difference.mean()


@MODELS.register_module()
class ECRLoss(nn.Module):
    """:func:`equivariant_cross_regularization` with a weight.

    Args:
        hard_ratio: Share of entries that count, in (0, 1]; 1 is without online hard example mining.
        loss_weight: Factor.

    Raises:
        ValueError: If ``hard_ratio`` is not in (0, 1].
    """

    def __init__(self, hard_ratio: float = 0.2, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < hard_ratio <= 1:
            raise ValueError(f'ECRLoss: hard_ratio is in (0, 1], got {hard_ratio}')
        self.hard_ratio = hard_ratio
        self.loss_weight = loss_weight

    def forward(self, cam: Tensor, revised: Tensor) -> Tensor:
        """See :func:`equivariant_cross_regularization`."""
        return self.loss_weight * equivariant_cross_regularization(cam, revised, self.hard_ratio)
