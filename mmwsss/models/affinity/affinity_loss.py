"""The loss of pixel affinities, of AffinityNet and IRNet."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmwsss.models.affinity.pixel_pairs import Offset, pair_mask, pair_windows
from mmwsss.models.losses.global_mean import global_mean
from mmwsss.registry import MODELS

IGNORE = 255
EPS = 1e-5


class PixelPairs(NamedTuple):
    """Which pairs of pixels are of which kind, from :func:`sort_pairs`.

    Each is bool N x P x h x w: plane p at (y, x) is the pair of the pixels (y, x) and (y + dy, x + dx), with (dy, dx)
    the p-th offset. A pair that is of no kind counts nowhere.

    Attributes:
        background: Both ends are background.
        foreground: Both ends are of the same foreground class.
        negative: The ends differ.
    """

    background: Tensor
    foreground: Tensor
    negative: Tensor


def sort_pairs(labels: Tensor, offsets: Sequence[Offset], border: str = 'all') -> PixelPairs:
    """Sorts all pairs of near pixels by the labels of their ends (AffinityNet, section 3.2).

    Args:
        labels: N x h x w, 0 for the background, 255 for pixels to ignore, else a foreground class below 255.
        offsets: P offsets (dy, dx) from the first to the second pixel of a pair.
        border: Which pairs count, see :func:`mmwsss.models.affinity.pair_mask`.

    Returns:
        The three kinds. A pair with an end that is to be ignored or outside of the map is of no kind.
    """
    labels, size = labels.to(torch.uint8), labels.shape[-2:]
    first = labels[:, None]
    second = torch.full((len(labels), len(offsets), *size), IGNORE, dtype=torch.uint8, device=labels.device)
    for p, offset in enumerate(offsets):
        (rows, columns), (partner_rows, partner_columns) = pair_windows(size, offset)
        second[:, p, rows, columns] = labels[:, partner_rows, partner_columns]
    valid = pair_mask(size, offsets, border, labels.device) & (first != IGNORE) & (second != IGNORE)
    same = first == second
    return PixelPairs(valid & same & (first == 0), valid & same & (first != 0), valid & ~same)


def affinity_losses(affinity: Tensor, pairs: PixelPairs) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropies of the affinities of the three kinds of pairs (AffinityNet, section 3.2).

    The mean of ``-log(a + 1e-5)`` over the positive pairs of background, the same over those of foreground, and the
    mean of ``-log(1 + 1e-5 - a)`` over the negative pairs. Means are over the pairs of all ranks, see
    :func:`mmwsss.models.losses.global_mean.global_mean`.

    Args:
        affinity: N x P x h x w in [0, 1].
        pairs: The kinds of the same pairs.

    Returns:
        Background, foreground, negative: scalars, 0 for a kind without pairs.
    """
    if affinity.dtype != torch.float64:
        affinity = affinity.float()
    zero = affinity.new_zeros(())
    positive_loss, negative_loss = -torch.log(affinity + EPS), -torch.log(1 + EPS - affinity)
    sums = torch.stack([positive_loss.where(pairs.background, zero).sum(),
                        positive_loss.where(pairs.foreground, zero).sum(),
                        negative_loss.where(pairs.negative, zero).sum()])
    return tuple(global_mean(sums, torch.stack([kind.sum() for kind in pairs])))


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """:func:`affinity_losses` with weights: the kinds of positive pairs and the negative ones count 1 : 1 : 2.

    Args:
        loss_weight: Factor of all three.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, affinity: Tensor, pairs: PixelPairs) -> dict[str, Tensor]:
        """Computes ``background / 4 + foreground / 4 + negative / 2``, one by one.

        Args:
            affinity: N x P x h x w in [0, 1].
            pairs: The kinds of the same pairs.

        Returns:
            ``loss_affinity_bg``, ``loss_affinity_fg`` and ``loss_affinity_neg``; their sum is the loss.
        """
        background, foreground, negative = affinity_losses(affinity, pairs)
        return dict(loss_affinity_bg=self.loss_weight * background / 4,
                    loss_affinity_fg=self.loss_weight * foreground / 4,
                    loss_affinity_neg=self.loss_weight * negative / 2)
