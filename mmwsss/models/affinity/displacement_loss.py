"""The loss of IRNet's displacement field."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmwsss.models.affinity.affinity_loss import PixelPairs
from mmwsss.models.affinity.pixel_pairs import Offset, pair_windows
from mmwsss.models.losses.global_mean import global_mean
from mmwsss.registry import MODELS


def displacement_losses(displacement: Tensor, offsets: Sequence[Offset],
                        pairs: PixelPairs) -> tuple[Tensor, Tensor]:
    """How far the displacements of pairs are from pointing at a common place (IRNet, section 4).

    Pixels of one foreground object should point at the same centroid: ``D(i) - D(j) = x_j - x_i``; those of the
    background have none, so their displacements should not differ.

    Args:
        displacement: N x 2 x h x w, D: vertical, horizontal, in grid positions.
        offsets: P offsets (dy, dx) = x_j - x_i.
        pairs: The kinds of the pairs.

    Returns:
        The mean of ``|D(i) - D(j) - (x_j - x_i)|`` over the foreground's positive pairs, and of ``|D(i) - D(j)|`` over
        the background's, both over the two components and the pairs of all ranks; 0 for a kind without pairs.
    """
    if displacement.dtype != torch.float64:
        displacement = displacement.float()
    foreground = background = zero = displacement.new_zeros(())
    steps = displacement.new_tensor(offsets).view(-1, 2, 1, 1)  # at once: a copy to the GPU for each would take longer
    for p, offset in enumerate(offsets):
        (rows, columns), (partner_rows, partner_columns) = pair_windows(displacement.shape[-2:], offset)
        difference = displacement[:, :, rows, columns] - displacement[:, :, partner_rows, partner_columns]
        error = (difference - steps[p]).abs()
        foreground = foreground + error.where(pairs.foreground[:, p, None, rows, columns], zero).sum()
        background = background + difference.abs().where(pairs.background[:, p, None, rows, columns], zero).sum()
    counts = torch.stack([pairs.foreground.sum(), pairs.background.sum()])
    return tuple(global_mean(torch.stack([foreground, background]), 2 * counts))


@MODELS.register_module()
class DisplacementLoss(nn.Module):
    """:func:`displacement_losses` with a weight.

    Args:
        loss_weight: Factor of both.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, displacement: Tensor, offsets: Sequence[Offset],
                pairs: PixelPairs) -> dict[str, Tensor]:
        """Computes ``(foreground + background) / 2``, one by one.

        Args:
            displacement: N x 2 x h x w.
            offsets: P offsets (dy, dx).
            pairs: The kinds of the pairs.

        Returns:
            ``loss_displacement_fg`` and ``loss_displacement_bg``; their sum is the loss.
        """
        foreground, background = displacement_losses(displacement, offsets, pairs)
        return dict(loss_displacement_fg=self.loss_weight * foreground / 2,
                    loss_displacement_bg=self.loss_weight * background / 2)
