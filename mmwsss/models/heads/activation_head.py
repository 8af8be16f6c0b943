"""The head of an activation network: one activation map for every category, the background included."""
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class ActivationHead(BaseModule):
    """1x1 convolution to C + 1 maps, the background first; their sigmoids are activations.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Number of foreground classes C; the tools fill it in where a config says ``None``.
        in_index: Which of the backbone's feature maps to use.
        bias: Whether the convolution has a bias, as SemFormer's.
        dropout_ratio: Probability of dropping a whole channel of the features in training; SemFormer: 0.5.
        init_cfg: Initialisation; default normal with standard deviation 0.01, activations of about one half.

    Raises:
        ValueError: If ``num_classes`` is below 1.
    """

    def __init__(self, in_channels: int, num_classes: int, in_index: int = -1, bias: bool = False,
                 dropout_ratio: float = 0.0, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg or dict(type='Normal', std=0.01, override=dict(name='conv_activation')))
        if not num_classes or num_classes < 1:
            raise ValueError(f'ActivationHead needs num_classes >= 1, got {num_classes}; the tools set it from the '
                             'class list of the data root')
        self.num_classes = num_classes
        self.in_index = in_index
        self.dropout = nn.Dropout2d(dropout_ratio)
        self.conv_activation = nn.Conv2d(in_channels, num_classes + 1, 1, bias=bias)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Computes the maps before the sigmoid.

        Args:
            feats: Feature maps; the one at ``in_index`` is used, N x in_channels x h x w.

        Returns:
            N x (C + 1) x h x w.
        """
        return self.conv_activation(self.dropout(feats[self.in_index]))
