"""The head of DeepLabV2: the sum of dilated convolutions."""
from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Scores of the classes as the sum of dilated 3x3 convolutions: atrous spatial pyramid pooling as it was first.

    "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs"
    (TPAMI 2018), section 3.2 and figure 4, as its ResNet101 has it (ASPP-L)::

        logits = sum_r conv3x3(x; dilation r),   r in dilations

    Every branch has one score per class: nothing is between features and scores, no normalisation, no activation.
    mmsegmentation's ``ASPPHead`` is DeepLabV3's: branches of features with BatchNorm, an image-level branch, and
    a classifier on their concatenation.

    Args:
        in_channels: Channels of the feature map.
        dilations: Rates of the branches, in cells of the feature map; the paper's for output stride 8.
        dropout_ratio: Rate of the channel dropout on the features; 0 (the paper's ResNet101): none.
        init_cfg: Initialisation; default a normal distribution of deviation 0.01, biases zero.
        **kwargs: See mmsegmentation's ``BaseDecodeHead``; ``channels`` is not among them.

    Raises:
        ValueError: If ``dilations`` is empty or has a rate below 1.
    """

    def __init__(self, in_channels: int, dilations: Sequence[int] = (6, 12, 18, 24), dropout_ratio: float = 0.0,
                 init_cfg: dict | list[dict] | None = None, **kwargs) -> None:
        if not dilations or min(dilations) < 1:
            raise ValueError(f'DeepLabV2Head: dilations must be whole numbers, at least 1, got {dilations}')
        super().__init__(in_channels, in_channels, dropout_ratio=dropout_ratio,
                         init_cfg=init_cfg or dict(type='Normal', std=0.01, layer='Conv2d'), **kwargs)
        del self.conv_seg  # the classifier on top of features, of which this head has none
        self.branches = nn.ModuleList(nn.Conv2d(self.in_channels, self.out_channels, 3, padding=rate, dilation=rate)
                                      for rate in dilations)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Computes the logits.

        Args:
            inputs: Feature maps of the backbone; that of ``in_index`` is used, N x in_channels x h x w.

        Returns:
            N x num_classes x h x w.
        """
        x = self._transform_inputs(inputs)
        if self.dropout is not None:
            x = self.dropout(x)
        return sum(branch(x) for branch in self.branches)
