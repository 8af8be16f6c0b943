"""SPA's loss that keeps a class map from rising without limit on a few positions."""
import torch
from torch import Tensor, nn

from mmwsss.registry import MODELS


def activation_masks(maps: Tensor, background: float, gap: float) -> tuple[Tensor, Tensor]:
    """Finds positions that are surely background and surely foreground, without labels.

    Where no class stands out, the softmax over the classes has a low variance. It is brought to [0, 1] in every image.

    Args:
        maps: N x C x h x w class maps, not rectified; C at least 2.
        background: Positions of a lower value are background.
        gap: Positions with a value above ``background + gap`` are foreground.

    Returns:
        Two masks, bool N x h x w: background and foreground; without gradient.

    Raises:
        ValueError: With fewer than two classes: the softmax says nothing then, and its variance is not a number.
    """
    if maps.shape[1] < 2:
        raise ValueError('activation_masks: tells foreground by differences between classes, so there must be at least '
                         f'two; got maps of shape {list(maps.shape)}')
    with torch.no_grad():
        variance = maps.float().softmax(dim=1).var(dim=1)
        low, high = variance.amin(dim=(1, 2), keepdim=True), variance.amax(dim=(1, 2), keepdim=True)
        variance = (variance - low) / (high - low).clamp(min=1e-15)
        return variance < background, variance > background + gap


def restricted_activation(maps: Tensor, labels: Tensor, background: float = 0.2, gap: float = 0.5) -> Tensor:
    """Pulls the map of an image's class to 0 in the background and to 1 on the object, after a sigmoid.

    Softmax and global average pooling are content with a very high response anywhere; this loss gains nothing by it,
    and wants all of the object. ``mean [ B s + F (1 - s) ]``, s the sigmoid of the class's map, B and F the masks of
    :func:`activation_masks`, the mean over all positions.

    Args:
        maps: N x C x h x w class maps, not rectified; C at least 2.
        labels: int64 [N], the class of each image.
        background: See :func:`activation_masks`.
        gap: See there.

    Returns:
        A scalar; gradient flows through s.

    Raises:
        ValueError: With fewer than two classes.
    """
    is_background, is_foreground = activation_masks(maps, background, gap)
    activation = maps.float()[torch.arange(len(maps), device=maps.device), labels].sigmoid()
    return (activation * is_background + (1 - activation) * is_foreground).mean()


@MODELS.register_module()
class RestrictedActivationLoss(nn.Module):
    """Restricted activation (RAM) of SPA with a weight.

    `Unveiling the Potential of Structure Preserving for Weakly Supervised Object Localization
    <https://arxiv.org/abs/2103.04523>`_, section 3.2. The defaults are those of the released code.

    Args:
        background: Variance, in [0, 1], below which a position is background.
        gap: How much above that it must be for foreground.
        loss_weight: Factor.

    Raises:
        ValueError: If no position could be background or foreground: ``background`` is not in (0, 1), ``gap`` is
            negative, or both together reach 1.
    """

    def __init__(self, background: float = 0.2, gap: float = 0.5, loss_weight: float = 0.1) -> None:
        super().__init__()
        if not 0 < background < 1 or gap < 0 or background + gap >= 1:
            raise ValueError('RestrictedActivationLoss: background in (0, 1), gap at least 0 and together below 1, '
                             f'got {background} and {gap}')
        self.background = background
        self.gap = gap
        self.loss_weight = loss_weight

    def forward(self, maps: Tensor, labels: Tensor) -> Tensor:
        """Returns the weighted loss; see :func:`restricted_activation`."""
        return self.loss_weight * restricted_activation(maps, labels, self.background, self.gap)
