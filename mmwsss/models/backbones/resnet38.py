"""The wide, pre-activation ResNet-38 of weakly supervised segmentation (PSA, SEAM and descendants)."""
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmwsss.models.backbones.base_backbone import StagedBackbone, check_out_indices
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError


class BasicBlock(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions.

    Args:
        in_channels: Channels of the input.
        mid_channels: Channels between the convolutions.
        out_channels: Channels of the output.
        stride: Stride of the first convolution.
        dilations: Dilation of the first and of the second convolution.
    """

    def __init__(self,
                 in_channels: int,
                 mid_channels: int,
                 out_channels: int,
                 stride: int = 1,
                 dilations: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        first, second = dilations
        self.bn_branch2a = nn.BatchNorm2d(in_channels)
        self.conv_branch2a = nn.Conv2d(in_channels, mid_channels, 3, stride, first, first, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(mid_channels)
        self.conv_branch2b1 = nn.Conv2d(mid_channels, out_channels, 3, 1, second, second, bias=False)
        self.keeps_shape = in_channels == out_channels and stride == 1
        if not self.keeps_shape:
            self.conv_branch1 = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the block.

        Args:
            x: N x in_channels x h x w, before any activation.

        Returns:
            The output, N x out_channels x ceil(h / stride) x ceil(w / stride), not activated; and
            the activated input, N x in_channels x h x w.
        """
        activated = F.relu(self.bn_branch2a(x), inplace=True)
        shortcut = x if self.keeps_shape else self.conv_branch1(activated)
        branch = self.conv_branch2a(activated)
        branch = F.relu(self.bn_branch2b1(branch), inplace=True)
        branch = self.conv_branch2b1(branch)
        return shortcut + branch, activated


class BottleneckBlock(nn.Module):
    """Pre-activation residual block of a 1x1, a dilated 3x3 and a 1x1 convolution, stride 1.

    The widths are a quarter, a half and the whole of the output's.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        dilation: Dilation of the 3x3 convolution.
        dropout: Rate of the channel dropout before the second and before the third convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        quarter, half = out_channels // 4, out_channels // 2
        self.bn_branch2a = nn.BatchNorm2d(in_channels)
        self.conv_branch2a = nn.Conv2d(in_channels, quarter, 1, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(quarter)
        self.conv_branch2b1 = nn.Conv2d(quarter, half, 3, 1, dilation, dilation, bias=False)
        self.bn_branch2b2 = nn.BatchNorm2d(half)
        self.conv_branch2b2 = nn.Conv2d(half, out_channels, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the block.

        Args:
            x: N x in_channels x h x w, before any activation.

        Returns:
            The output, N x out_channels x h x w, not activated; and the activated input,
            N x in_channels x h x w.
        """
        activated = F.relu(self.bn_branch2a(x), inplace=True)
        branch = self.conv_branch2a(activated)
        branch = self.dropout(F.relu(self.bn_branch2b1(branch), inplace=True))
        branch = self.conv_branch2b1(branch)
        branch = self.dropout(F.relu(self.bn_branch2b2(branch), inplace=True))
        branch = self.conv_branch2b2(branch)
        return self.conv_branch1(activated) + branch, activated


class _StatisticsKept:
    """While entered, a module's BatchNorms do not move their running statistics.

    Activation checkpointing runs a block twice in a training step; the second run must not
    count. Can be entered again, since a graph may be gone through backward more than once.
    """

    def __init__(self, module: nn.Module) -> None:
        self.norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 0.0

    def __exit__(self, *exc_info: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.before):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


@MODELS.register_module()
class ResNet38(StagedBackbone):
    """Wide pre-activation ResNet-38, output stride 8.

    The model "A1" of `Wider or Deeper <https://arxiv.org/abs/1611.10080>`_ as changed by
    `AffinityNet <https://arxiv.org/abs/1803.10464>`_ (PSA): no stride after b4, dilation 2 in b5, 4 in b6
    and b7. Keys of the state dict are the original's (``conv1a``, ``b2`` ... ``b7``, ``bn7``).

    ===== ========================== ========== ================= ============ =====================
    stage blocks                     type       in, mid, out      stride       dilation
    ===== ========================== ========== ================= ============ =====================
    1     conv1a; b2, b2_1, b2_2     basic      64, 128, 128      2            1
    2     b3, b3_1, b3_2             basic      128, 256, 256     2            1
    3     b4, b4_1 ... b4_5          basic      256, 512, 512     2            1
    4     b5, b5_1, b5_2             basic      512, 512, 1024    1            1 and 2 in b5, then 2
    5     b6                         bottleneck 1024, 2048        1            4
    6     b7; bn7                    bottleneck 2048, 4096        1            4
    ===== ========================== ========== ================= ============ =====================

    Taps, all activated and of size ceil(H / 8) x ceil(W / 8): 0 is conv4 (input of b5, 512 channels),
    1 is conv5 (input of b6, 1024), 2 is conv6 (relu(bn7), 4096).

    The original input is RGB with ImageNet's mean and standard deviation. PSA and SEAM train with
    ``frozen_stages=1, norm_eval=True, norm_frozen=True``.

    Args:
        out_indices: Taps to return, increasing.
        frozen_stages: Number of frozen stages of the table, 0 to 6.
        norm_eval: BatchNorm stays in eval mode.
        norm_frozen: BatchNorm's weight and bias get no gradient.
        with_cp: Activation checkpointing: each block's inner activations are computed again in
            the backward pass instead of being kept. Same gradients and running statistics.
        dropout_b6: Rate of the channel dropout in b6.
        dropout_b7: Rate of the channel dropout in b7.
        base_channels: Width of conv1a, 64 in the original; every other width scales with it (the
            taps have 8, 16 and 64 times as many channels).
        init_cfg: Initialisation, as in mmengine. Default: Kaiming for the convolutions.

    Raises:
        UserError: A tap or a number of frozen stages that does not exist, or ``base_channels`` < 1.

    Example:
        >>> model = ResNet38(base_channels=4)
        >>> [tuple(tap.shape) for tap in model(torch.rand(1, 3, 33, 40))]
        [(1, 32, 5, 5), (1, 64, 5, 5), (1, 256, 5, 5)]
    """

    def __init__(self,
                 out_indices: tuple[int, ...] = (0, 1, 2),
                 frozen_stages: int = 0,
                 norm_eval: bool = False,
                 norm_frozen: bool = False,
                 with_cp: bool = False,
                 dropout_b6: float = 0.3,
                 dropout_b7: float = 0.5,
                 base_channels: int = 64,
                 init_cfg: dict | list[dict] | None = None) -> None:
        if init_cfg is None:
            init_cfg = [{'type': 'Kaiming', 'layer': 'Conv2d'},
                        {'type': 'Constant', 'val': 1, 'layer': '_BatchNorm'}]
        super().__init__(frozen_stages, norm_eval, norm_frozen, init_cfg)
        if base_channels < 1:
            raise UserError(f'ResNet38: base_channels={base_channels} is not possible; '
                            'give 64 (the original) or another positive number.')
        self.out_indices = check_out_indices('ResNet38', out_indices, num_taps=3)
        self.with_cp = with_cp

        c = base_channels
        self.conv1a = nn.Conv2d(3, c, 3, padding=1, bias=False)
        self.b2 = BasicBlock(c, 2 * c, 2 * c, stride=2)
        self.b2_1 = BasicBlock(2 * c, 2 * c, 2 * c)
        self.b2_2 = BasicBlock(2 * c, 2 * c, 2 * c)
        self.b3 = BasicBlock(2 * c, 4 * c, 4 * c, stride=2)
        self.b3_1 = BasicBlock(4 * c, 4 * c, 4 * c)
        self.b3_2 = BasicBlock(4 * c, 4 * c, 4 * c)
        self.b4 = BasicBlock(4 * c, 8 * c, 8 * c, stride=2)
        self.b4_1 = BasicBlock(8 * c, 8 * c, 8 * c)
        self.b4_2 = BasicBlock(8 * c, 8 * c, 8 * c)
        self.b4_3 = BasicBlock(8 * c, 8 * c, 8 * c)
        self.b4_4 = BasicBlock(8 * c, 8 * c, 8 * c)
        self.b4_5 = BasicBlock(8 * c, 8 * c, 8 * c)
        self.b5 = BasicBlock(8 * c, 8 * c, 16 * c, dilations=(1, 2))
        self.b5_1 = BasicBlock(16 * c, 8 * c, 16 * c, dilations=(2, 2))
        self.b5_2 = BasicBlock(16 * c, 8 * c, 16 * c, dilations=(2, 2))
        self.b6 = BottleneckBlock(16 * c, 32 * c, dilation=4, dropout=dropout_b6)
        self.b7 = BottleneckBlock(32 * c, 64 * c, dilation=4, dropout=dropout_b7)
        self.bn7 = nn.BatchNorm2d(64 * c)
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Returns the modules of the six stages of the table."""
        return [
            [self.conv1a, self.b2, self.b2_1, self.b2_2],
            [self.b3, self.b3_1, self.b3_2],
            [self.b4, self.b4_1, self.b4_2, self.b4_3, self.b4_4, self.b4_5],
            [self.b5, self.b5_1, self.b5_2],
            [self.b6],
            [self.b7, self.bn7],
        ]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the taps.

        Args:
            x: N x 3 x H x W images, normalised.

        Returns:
            The taps named by ``out_indices``, each non-negative, N x channels x ceil(H/8) x ceil(W/8).
        """
        stage1, stage2, stage3, *_ = self.stages()
        x = self.conv1a(x)
        for block in (*stage1[1:], *stage2, *stage3):
            x, _ = self._run(block, x)
        x, conv4 = self._run(self.b5, x)
        x, _ = self._run(self.b5_1, x)
        x, _ = self._run(self.b5_2, x)
        x, conv5 = self._run(self.b6, x)
        x, _ = self._run(self.b7, x)
        conv6 = F.relu(self.bn7(x))
        taps = (conv4, conv5, conv6)
        return tuple(taps[i] for i in self.out_indices)

    def _run(self, block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.with_cp and torch.is_grad_enabled()):
            return block(x)
        return checkpoint(block, x, use_reentrant=False,
                          context_fn=lambda: (nullcontext(), _StatisticsKept(block)))
