"""Convolutions between backbone and CAM head, in the place of a classifier's fully connected layers."""
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class ConvStack(BaseModule):
    """Convolutions with ReLU whose result is appended to the feature maps.

    ========================================= ====================================================================
    VGG16-GAP (localization)                  ``in_channels=512, layers=((1024, 3, 1),)``
    Inception V3 (SPG and successors)         ``in_channels=768, layers=((1024, 3, 1), (1024, 3, 1))``
    VGG16 of PSA (DeepLab-LargeFOV: fc6, fc7) ``in_channels=512, layers=((1024, 3, 12), (1024, 1, 1)), pool=True,``
                                              ``dropout_ratio=0.5``
    ========================================= ====================================================================

    Args:
        in_channels: Channels of the feature map.
        layers: (channels, kernel size, dilation) of every convolution; each is padded to keep the size, for which the
            kernel size must be odd.
        in_index: Which of the backbone's feature maps to use.
        pool: First a max-pooling and then an average pooling over 3 x 3 of stride 1 (LargeFOV's pool5 and pool5a).
        dropout_ratio: Probability of dropping a whole channel after every convolution in training.
        init_cfg: Initialisation; default Kaiming normal.

    Raises:
        ValueError: Without layers, or for an even kernel size.
    """

    def __init__(self, in_channels: int, layers: Sequence[tuple[int, int, int]] = ((1024, 3, 1),), in_index: int = -1,
                 pool: bool = False, dropout_ratio: float = 0.0, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_in'))
        if not layers:
            raise ValueError('ConvStack needs at least one layer (channels, kernel size, dilation)')
        if even := [kernel for _, kernel, _ in layers if kernel % 2 == 0]:
            raise ValueError(f'ConvStack: kernel sizes must be odd to keep the size of the map, got {even[0]}')
        self.in_index = in_index
        modules: list[nn.Module] = [nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)] if pool else []
        for channels, kernel, dilation in layers:
            modules += [nn.Conv2d(in_channels, channels, kernel, padding=dilation * (kernel // 2), dilation=dilation),
                        nn.ReLU(inplace=True)]
            if dropout_ratio:
                modules.append(nn.Dropout2d(dropout_ratio))
            in_channels = channels
        self.layers = nn.Sequential(*modules)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Appends the result.

        Args:
            feats: Feature maps; the one at ``in_index`` is N x in_channels x h x w.

        Returns:
            ``feats``, and N x channels x h x w, non-negative, as the last.
        """
        return (*feats, self.layers(feats[self.in_index]))
