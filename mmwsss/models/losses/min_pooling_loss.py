"""The min-pooling loss of SEAM's released code."""
from torch import Tensor, nn

from mmwsss.registry import MODELS


def min_pooling(maps: Tensor, ratio: float = 0.25) -> Tensor:
    """Pulls the quietest part of every image to zero.

    The maximum over the classes, of it the ``floor(ratio * h * w)`` lowest pixels of each image, rectified; their mean.

    Args:
        maps: N x C x h x w foreground maps, those of absent classes zero.
        ratio: Share of the pixels.

    Returns:
        A scalar.
    """
    highest = maps.float().amax(dim=1).flatten(1)
    count = max(1, int(ratio * highest.shape[1]))
    return highest.topk(count, dim=1, largest=False, sorted=False).values.relu().mean()


@MODELS.register_module()
class MinPoolingLoss(nn.Module):
    """:func:`min_pooling` with a weight.

    Args:
        ratio: Share of the pixels, in (0, 1].
        loss_weight: Factor.

    Raises:
        ValueError: If ``ratio`` is not in (0, 1].
    """

    def __init__(self, ratio: float = 0.25, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise ValueError(f'MinPoolingLoss: ratio is in (0, 1], got {ratio}')
        self.ratio = ratio
        self.loss_weight = loss_weight

    def forward(self, maps: Tensor) -> Tensor:
        """See :func:`min_pooling`."""
        return self.loss_weight * min_pooling(maps, self.ratio)
