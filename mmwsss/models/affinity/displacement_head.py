"""IRNet's displacement branch: feature maps to vectors that point at the centroid of an object."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.models.affinity.edge_head import conv_group_norm
from mmwsss.models.utils.label_grid import upsample_from_grid
from mmwsss.registry import MODELS


@MODELS.register_module()
class DisplacementHead(BaseModule):
    """IRNet's branch for the displacement field, at the size of the first feature map.

    "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations" (CVPR 2019), section 4. Five
    feature maps go through 1x1 convolutions with group normalisation; the last three, of the stride of the third,
    are joined, enlarged to the first two, and joined with these.

    The losses see differences of displacements only, so a constant is left over: the mean over the training images,
    :attr:`mean_displacement`, is taken off in eval mode. It is not a weight: see
    :meth:`mmwsss.models.affinity.IRNet.update_mean_displacement`.

    Args:
        in_channels: Channels of five feature maps, the finest first; the first two have the same size.
        in_indices: Which of the backbone's feature maps they are.
        factors: Stride of each feature map in strides of the first.
        channels: Channels of each after its own convolution.
        num_groups: Groups of their group normalisations.
        joined_channels: Channels where feature maps have been joined, normalised in as many groups as the last map.
        init_cfg: Initialisation; default that of PyTorch's layers, as in the released code.

    Raises:
        ValueError: If a sequence has not five entries, or factors are not those of the pyramid described above.
    """

    def __init__(self, in_channels: Sequence[int] = (64, 256, 512, 1024, 2048),
                 in_indices: Sequence[int] = (0, 1, 2, 3, 4), factors: Sequence[int] = (1, 1, 2, 4, 4),
                 channels: Sequence[int] = (64, 128, 256, 256, 256), num_groups: Sequence[int] = (8, 16, 16, 16, 16),
                 joined_channels: int = 256, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not all(len(part) == 5 for part in (in_channels, in_indices, factors, channels, num_groups)):
            raise ValueError('DisplacementHead: in_channels, in_indices, factors, channels and num_groups are of five '
                             f'feature maps, got {in_channels}, {in_indices}, {factors}, {channels} and {num_groups}')
        if tuple(factors[:2]) != (1, 1) or any(factor % factors[2] for factor in factors[3:]):
            raise ValueError('DisplacementHead: the first two factors are 1, the last two multiples of the third, '
                             f'got {factors}')
        self.in_indices = tuple(in_indices)
        self.factors = tuple(factors)
        groups = num_groups[-1]
        self.branches = nn.ModuleList(conv_group_norm(*sizes) for sizes in zip(in_channels, channels, num_groups))
        self.join_coarse = conv_group_norm(sum(channels[2:]), joined_channels, groups)
        self.join_fine = conv_group_norm(sum(channels[:2]) + joined_channels, joined_channels, groups)
        self.conv_displacement = nn.Conv2d(joined_channels, 2, 1, bias=False)
        self.register_buffer('mean_displacement', torch.zeros(2))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Computes the displacement field.

        Args:
            feats: Feature maps; those at ``in_indices`` are used.

        Returns:
            N x 2 x h x w, the size of the first of them: vertical and horizontal, in positions of the map; in eval mode
            less the mean.
        """
        displacement = self.forward_raw(feats)
        return displacement if self.training else displacement - self.mean_displacement[:, None, None]

    def forward_raw(self, feats: Sequence[Tensor]) -> Tensor:
        """Computes the displacement field as :meth:`forward`, with the mean left in."""
        feats = [feats[i] for i in self.in_indices]
        fine, coarse = feats[0].shape[-2:], feats[2].shape[-2:]
        sizes = (fine, fine, coarse, coarse, coarse)
        to_coarse = [1, 1, *(factor // self.factors[2] for factor in self.factors[2:])]
        maps = [upsample_from_grid(branch(feat), factor, size).relu()
                for branch, feat, factor, size in zip(self.branches, feats, to_coarse, sizes)]
        joined = upsample_from_grid(self.join_coarse(torch.cat(maps[2:], dim=1)), self.factors[2], fine).relu()
        joined = self.join_fine(torch.cat([*maps[:2], joined], dim=1)).relu()
        return self.conv_displacement(joined)
