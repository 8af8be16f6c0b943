"""VGG16 without its fully connected layers, dilatable."""
from torch import Tensor, nn

from mmwsss.models.backbones.base_backbone import StagedBackbone, check_out_indices
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

# Channels of the convolutions of each stage.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@MODELS.register_module()
class VGG16(StagedBackbone):
    """The thirteen convolutions of VGG16, each followed by a ReLU; max-pooling between the five stages.

    `Very Deep Convolutional Networks <https://arxiv.org/abs/1409.1556>`_. The network of localization (VGG16-GAP:
    stride 16 and a :class:`mmwsss.models.ConvStack` of one 3x3 convolution to 1,024 channels as neck) and, at stride 8
    with ``pool_size=3``, of segmentation before ResNets (DeepLab-LargeFOV's, which PSA and SEAM's ancestors classify
    with). Keys of the state dict are torchvision's, ``features.<n>.weight`` and ``.bias``, less ``classifier.*``.

    ===== ============ ======== ============================
    stage convolutions channels stride at output stride 16 / 8
    ===== ============ ======== ============================
    0     2            64       1
    1     2            128      2
    2     3            256      4
    3     3            512      8
    4     3            512      16 / 8
    ===== ============ ======== ============================

    torchvision's weights want RGB, mean 123.675, 116.28, 103.53 and standard deviation 58.395, 57.12, 57.375.

    Args:
        output_stride: 16, or 8: the pooling before the last stage then has stride 1 and a size of 3, and the last stage
            a dilation of 2.
        pool_size: 2, VGG16's own; or 3, DeepLab's, with a padding of 1.
        out_indices: Stages (0 to 4) whose outputs are returned, increasing.
        frozen_stages: Number of stages from the input on that are frozen.
        init_cfg: Initialisation, as in mmengine. Default: Kaiming.

    Raises:
        UserError: Another output stride or pool size, or a stage that does not exist, or none.

    Example:
        >>> model = VGG16(out_indices=(3, 4))
        >>> [tuple(tap.shape) for tap in model(torch.rand(1, 3, 65, 48))]
        [(1, 512, 9, 6), (1, 512, 5, 3)]
    """

    def __init__(self, output_stride: int = 16, pool_size: int = 2, out_indices: tuple[int, ...] = (1, 2, 3, 4),
                 frozen_stages: int = 0, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(frozen_stages, init_cfg=init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_in'))
        if output_stride not in (8, 16) or pool_size not in (2, 3):
            raise UserError(f'VGG16: output_stride={output_stride}, pool_size={pool_size} is not possible; give '
                            '8 or 16, and 2 or 3.')
        self.out_indices = check_out_indices('VGG16', out_indices, num_taps=len(STAGES))
        if not self.out_indices:
            raise UserError('VGG16: out_indices is empty; choose an output.')
        layers: list[nn.Module] = []
        # Positions in `features` where each stage begins: of its pooling, but for the first.
        self.stage_starts: list[int] = []
        in_channels = 3
        for index, widths in enumerate(STAGES):
            self.stage_starts.append(len(layers))
            dense = index == len(STAGES) - 1 and output_stride == 8
            if index:
                layers.append(_pool(3, 1) if dense else _pool(pool_size, 2))
            dilation = 2 if dense else 1
            for channels in widths:
                layers += [nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation), nn.ReLU(True)]
                in_channels = channels
        self.features = nn.Sequential(*layers)
        self.freeze()

    def stages(self) -> list[list[nn.Module]]:
        """Returns the modules of the five stages."""
        ends = [*self.stage_starts[1:], len(self.features)]
        return [list(self.features[start:end]) for start, end in zip(self.stage_starts, ends)]

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
            for layer in stage:
                x = layer(x)
            if index in self.out_indices:
                taps.append(x)
        return tuple(taps)


def _pool(size: int, stride: int) -> nn.Module:
    # Rounded up, as in our other backbones: the map covers all of the image.
    return nn.MaxPool2d(size, stride, padding=size // 2 if size == 3 else 0, ceil_mode=size == 2)
