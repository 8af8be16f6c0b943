"""Inception V3 as localization uses it."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmwsss.models.backbones.base_backbone import StagedBackbone, check_out_indices
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


class ConvNorm(nn.Module):
    """Convolution, padded to keep the size, BatchNorm and ReLU; keys ``conv.*`` and ``bn.*``."""

    def __init__(self, in_channels: int, channels: int, kernel: int | tuple[int, int] = 1, stride: int = 1) -> None:
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, (kernel[0] // 2, kernel[1] // 2), bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x in_channels x h x w to N x channels x ceil(h / stride) x ceil(w / stride)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Chains of convolutions side by side, whose results are concatenated.

    Args:
        in_channels: Channels of the input.
        chains: By name, for every convolution of a chain (channels, kernel, stride). The modules are ``<name>_1``,
            ``<name>_2``, ...; of a single one ``<name>``.
        pool_stride: Stride of a max-pooling of the input whose result is the last part; 0: instead the input, averaged
            over 3 x 3, goes through the chain ``branch_pool``.
    """

    def __init__(self, in_channels: int, chains: dict[str, list[tuple]], pool_stride: int = 0) -> None:
        super().__init__()
        self.chains: dict[str, list[str]] = {}
        self.pool_stride = pool_stride
        for chain, convs in chains.items():
            names = [f'{chain}_{i + 1}' for i in range(len(convs))] if len(convs) > 1 else [chain]
            self.chains[chain] = names
            channels = in_channels
            for name, (width, *rest) in zip(names, convs):
                self.add_module(name, ConvNorm(channels, width, *rest))
                channels = width

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x in_channels x h x w to N x channels x ceil(h / stride) x ceil(w / stride)."""
        parts = []
        for chain, names in self.chains.items():
            part = F.avg_pool2d(x, 3, stride=1, padding=1) if chain == 'branch_pool' else x
            for name in names:
                part = getattr(self, name)(part)
            parts.append(part)
        if self.pool_stride:
            parts.append(F.max_pool2d(x, 3, stride=self.pool_stride, padding=1))
        return torch.cat(parts, dim=1)


def mixed_5(in_channels: int, pool_channels: int) -> Mixed:
    """A module of 35 x 35: 224 + ``pool_channels`` channels."""
    return Mixed(in_channels, dict(branch1x1=[(64,)], branch5x5=[(48,), (64, 5)],
                                   branch3x3dbl=[(64,), (96, 3), (96, 3)], branch_pool=[(pool_channels,)]))


def mixed_6a(in_channels: int, stride: int) -> Mixed:
    """The module that reduces 35 x 35 to 17 x 17 (with a stride of 2): 480 + ``in_channels`` channels."""
    return Mixed(in_channels, dict(branch3x3=[(384, 3, stride)], branch3x3dbl=[(64,), (96, 3), (96, 3, stride)]),
                 pool_stride=stride)


def mixed_6(in_channels: int, width: int) -> Mixed:
    """A module of 17 x 17 with 7 x 7 convolutions in two parts each: 768 channels."""
    row, column = (1, 7), (7, 1)
    return Mixed(in_channels, dict(
        branch1x1=[(192,)], branch7x7=[(width,), (width, row), (192, column)],
        branch7x7dbl=[(width,), (width, column), (width, row), (width, column), (192, row)], branch_pool=[(192,)]))


@MODELS.register_module()
class InceptionV3(StagedBackbone):
    """Inception V3 up to its last module of 17 x 17 (``Mixed_6e``), as localization uses it.

    `Rethinking the Inception Architecture <https://arxiv.org/abs/1512.00567>`_; SPG and its successors put two 3x3
    convolutions to 1,024 channels behind it (:class:`mmwsss.models.ConvStack`) and a CAM head. Keys of the state dict
    are torchvision's, less ``Mixed_7*``, ``AuxLogits.*`` and ``fc.*``.

    Every convolution and pooling is padded, so that maps cover the image; torchvision's stem is not, which matters at
    the border only.

    ===== ================ ======== ==============================
    stage modules          channels stride at output stride 16 / 8
    ===== ================ ======== ==============================
    0     1a, 2a, 2b       64       2
    1     3b, 4a           192      4
    2     5b, 5c, 5d       288      8
    3     6a to 6e         768      16 / 8
    ===== ================ ======== ==============================

    torchvision's weights, which are Google's, want RGB, (x - 127.5) / 127.5.

    Args:
        output_stride: 8, as SPG has it (``Mixed_6a`` without its stride), or 16.
        out_indices: Stages (0 to 3) whose outputs are returned, increasing.
        frozen_stages: Number of stages from the input on that are frozen.
        norm_eval: BatchNorm stays in eval mode.
        norm_frozen: BatchNorm's weight and bias get no gradient.
        init_cfg: Initialisation, as in mmengine. Default: Kaiming for the convolutions.

    Raises:
        UserError: Another output stride, or a stage that does not exist, or none.
    """

    def __init__(self, output_stride: int = 8, out_indices: tuple[int, ...] = (1, 2, 3), frozen_stages: int = 0,
                 norm_eval: bool = False, norm_frozen: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(frozen_stages, norm_eval, norm_frozen,
                         init_cfg or [dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
                                      dict(type='Constant', val=1, layer='_BatchNorm')])
        if output_stride not in (8, 16):
            raise UserError(f'InceptionV3: output_stride={output_stride} is not possible; give 8 or 16.')
        self.out_indices = check_out_indices('InceptionV3', out_indices, num_taps=4)
        if not self.out_indices:
            raise UserError('InceptionV3: out_indices is empty; choose an output.')
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.Mixed_5b = mixed_5(192, 32)
        self.Mixed_5c = mixed_5(256, 64)
        self.Mixed_5d = mixed_5(288, 64)
        self.Mixed_6a = mixed_6a(288, stride=output_stride // 8)
        for name, width in zip('bcde', (128, 160, 160, 192)):
            setattr(self, f'Mixed_6{name}', mixed_6(768, width))
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Returns the modules of the four stages."""
        return [[self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3],
                [self.Conv2d_3b_1x1, self.Conv2d_4a_3x3],
                [self.Mixed_5b, self.Mixed_5c, self.Mixed_5d],
                [self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e]]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the taps.

        Args:
            x: N x 3 x H x W images, normalised.

        Returns:
            The outputs of the stages in ``out_indices``, non-negative, each N x channels x ceil(H / stride) x
            ceil(W / stride).
        """
        taps = []
        for index, stage in enumerate(self.stages()):
            if index in (1, 2):
                x = F.max_pool2d(x, 3, stride=2, padding=1)
            for module in stage:
                x = module(x)
            if index in self.out_indices:
                taps.append(x)
        return tuple(taps)
