"""A 1x1 convolution between backbone and CAM head, whose result is a feature map of its own."""
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class FeatureProjection(BaseModule):
    """Reduces a feature map to D channels and appends it to the feature maps.

    "Exploring Pixel-level Self-supervision for Weakly Supervised Semantic Segmentation", section 4.2 and appendix C:
    "an additional intermediate 1x1 convolution layer to extract feature maps (X)", of which the CAM head makes the
    class maps A with another one. The paper names no non-linearity between the two, and here is none: CAMs stay linear
    in the backbone's features, and features that are compared by their cosine may point in any direction. Neither is
    there a bias, as in the CAM head: it would give the map of a class a constant that no pixel has caused.

    Args:
        in_channels: Channels of the feature map.
        channels: D, channels of the result.
        in_index: Which of the backbone's feature maps to reduce.
        init_cfg: Initialisation; default Kaiming normal, which keeps the size of the features.
    """

    def __init__(self, in_channels: int, channels: int = 256, in_index: int = -1,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='linear'))
        self.in_index = in_index
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Appends the reduced feature map.

        Args:
            feats: Feature maps; the one at ``in_index`` is N x in_channels x h x w.

        Returns:
            ``feats``, and X, N x channels x h x w, as the last.
        """
        return (*feats, self.conv(feats[self.in_index]))
