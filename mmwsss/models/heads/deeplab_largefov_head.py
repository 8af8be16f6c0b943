"""The head of DeepLab-LargeFOV: one dilated convolution with a large field of view, and a classifier."""
from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class DeepLabLargeFOVHead(BaseDecodeHead):
    """A 3x3 convolution of a large rate, a 1x1 convolution, and the classifier.

    "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs" (ICLR 2015), the
    variant LargeFOV: VGG16's first fully connected layer becomes a 3x3 convolution of rate 12 with 1024 channels::

        y = dropout(relu(conv3x3(x; dilation)));  y = dropout(relu(conv1x1(y)));  logits = conv1x1(y)

    What descends from SEAM calls a ResNet38 with such a head DeepLabV1: 512 channels, BatchNorm before both
    activations (``norm_cfg``), and the second dropout alone (``hidden_dropout_ratio=0``).

    Dropout here is of single values, as in both codes; mmsegmentation's heads drop whole channels.

    Args:
        in_channels: Channels of the feature map.
        channels: Channels of the two convolutions.
        dilation: Rate of the first, in cells of the feature map; 12 is for output stride 8.
        dropout_ratio: Rate of the dropout before the classifier.
        hidden_dropout_ratio: Rate of the one after the first convolution; ``None``: the same.
        init_cfg: Initialisation; default Kaiming for the two convolutions and deviation 0.01 for the classifier.
        **kwargs: See mmsegmentation's ``BaseDecodeHead``.

    Raises:
        ValueError: If the dilation is below 1.
    """

    def __init__(self, in_channels: int, channels: int = 1024, dilation: int = 12, dropout_ratio: float = 0.5,
                 hidden_dropout_ratio: float | None = None, init_cfg: dict | list[dict] | None = None,
                 **kwargs) -> None:
        if dilation < 1:
            raise ValueError(f'DeepLabLargeFOVHead: dilation must be a whole number, at least 1, got {dilation}')
        if init_cfg is None:
            init_cfg = [dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer='_BatchNorm'),
                        dict(type='Normal', std=0.01, override=dict(name='conv_seg'))]
        super().__init__(in_channels, channels, dropout_ratio=dropout_ratio, init_cfg=init_cfg, **kwargs)
        settings = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.fov = ConvModule(self.in_channels, channels, 3, padding=dilation, dilation=dilation, **settings)
        self.hidden_dropout = nn.Dropout(dropout_ratio if hidden_dropout_ratio is None else hidden_dropout_ratio)
        self.mix = ConvModule(channels, channels, 1, **settings)
        self.dropout = nn.Dropout(dropout_ratio)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Computes the logits.

        Args:
            inputs: Feature maps of the backbone; that of ``in_index`` is used, N x in_channels x h x w.

        Returns:
            N x num_classes x h x w.
        """
        x = self.hidden_dropout(self.fov(self._transform_inputs(inputs)))
        return self.cls_seg(self.mix(x))
