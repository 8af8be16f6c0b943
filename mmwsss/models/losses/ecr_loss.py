"""Equivariant cross regularisation (ECR) with online hard example mining."""
import torch
from torch import Tensor, nn

from mmwsss.registry import MODELS

HARD_UNITS = ('entries', 'pixels')


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


def equivariant_cross_regularization(cam: Tensor, revised: Tensor, hard_ratio: float = 0.2,
                                     hard_unit: str = 'entries', detach_cam: bool = True) -> Tensor:
    """Pulls the revised maps of one view to the CAM of the other (one of the two terms of SEAM's eq. 10).

    ``|keep_highest_foreground(cam) - revised|``; per image the mean of its largest
    ``k = floor(hard_ratio * (C + 1) * h * w)`` entries (online hard example mining), then the mean over images.

    Args:
        cam: N x (C + 1) x h x w maps in [0, 1], background first.
        revised: N x (C + 1) x h x w.
        hard_ratio: Share of entries that count; 1 is all of them.
        hard_unit: What the share is of: ``'entries'``, as in the released code, or ``'pixels'``, as in the paper ("the
            largest 20% pixel losses"): ``floor(hard_ratio * h * w)`` pixels, each with the mean over its channels.
        detach_cam: Whether no gradient flows into ``cam``, as in the released code; eq. 10 does not say so.

    Returns:
        A scalar.

    Raises:
        ValueError: For another ``hard_unit``.
    """
    if hard_unit not in HARD_UNITS:
        raise ValueError(f'equivariant_cross_regularization: hard_unit is one of {", ".join(HARD_UNITS)}, got '
                         f'{hard_unit!r}')
    cam = cam.detach() if detach_cam else cam
    difference = (keep_highest_foreground(cam.float()) - revised.float()).abs()
    difference = (difference.mean(dim=1) if hard_unit == 'pixels' else difference).flatten(1)
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
        hard_unit: ``'entries'`` (released code) or ``'pixels'`` (paper).
        detach_cam: ``True`` (released code): the CAM is a target. ``False``: gradient flows into it, too.

    Raises:
        ValueError: If ``hard_ratio`` is not in (0, 1], or ``hard_unit`` unknown.
    """

    def __init__(self, hard_ratio: float = 0.2, loss_weight: float = 1.0, hard_unit: str = 'entries',
                 detach_cam: bool = True) -> None:
        super().__init__()
        if not 0 < hard_ratio <= 1:
            raise ValueError(f'ECRLoss: hard_ratio is in (0, 1], got {hard_ratio}')
        if hard_unit not in HARD_UNITS:
            raise ValueError(f'ECRLoss: hard_unit is one of {", ".join(HARD_UNITS)}, got {hard_unit!r}')
        self.hard_ratio = hard_ratio
        self.hard_unit = hard_unit
        self.detach_cam = detach_cam
        self.loss_weight = loss_weight

    def forward(self, cam: Tensor, revised: Tensor) -> Tensor:
        """See :func:`equivariant_cross_regularization`."""
        return self.loss_weight * equivariant_cross_regularization(cam, revised, self.hard_ratio, self.hard_unit,
                                                                    self.detach_cam)
