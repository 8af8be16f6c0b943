"""IRNet's edge branch: feature maps to the boundaries between classes."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.models.utils.label_grid import upsample_from_grid
from mmwsss.registry import MODELS


def conv_group_norm(in_channels: int, out_channels: int, groups: int) -> nn.Sequential:
    """A 1x1 convolution without bias, and a group normalisation, which does not depend on the batch."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.GroupNorm(groups, out_channels))


@MODELS.register_module()
class EdgeHead(BaseModule):
    """IRNet's branch for the boundaries between classes, at the size of the first feature map.

    "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations" (CVPR 2019), section 4. Each
    feature map goes through a 1x1 convolution with group normalisation, is enlarged, and rectified; all together go
    through another 1x1 convolution.

    Args:
        in_channels: Channels of the feature maps, the finest first.
        in_indices: Which of the backbone's feature maps they are; ``None``: the first ones.
        factors: Stride of each feature map in strides of the first.
        channels: Channels of each after its own convolution.
        num_groups: Groups of the group normalisation.
        init_cfg: Initialisation; default that of PyTorch's layers, as in the released code.

    Raises:
        ValueError: If there are not as many factors or indices as feature maps, or the first factor is not 1.
    """

    def __init__(self, in_channels: Sequence[int] = (64, 256, 512, 1024, 2048),
                 in_indices: Sequence[int] | None = None, factors: Sequence[int] = (1, 1, 2, 4, 4), channels: int = 32,
                 num_groups: int = 4, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        in_indices = range(len(in_channels)) if in_indices is None else in_indices
        if not len(in_channels) == len(factors) == len(in_indices) > 0 or factors[0] != 1:
            raise ValueError('EdgeHead: in_channels, factors (the first of them 1) and in_indices are of the same '
                             f'feature maps, got {in_channels}, {factors} and {in_indices}')
        self.in_indices = tuple(in_indices)
        self.factors = tuple(factors)
        self.branches = nn.ModuleList(conv_group_norm(old, channels, num_groups) for old in in_channels)
        self.conv_edge = nn.Conv2d(channels * len(in_channels), 1, 1)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Computes the logits of the edges.

        Args:
            feats: Feature maps; those at ``in_indices`` are used.

        Returns:
            N x 1 x h x w, the size of the first of them; the sigmoid is how likely a boundary between classes is.
        """
        feats = [feats[i] for i in self.in_indices]
        size = feats[0].shape[-2:]
        maps = [upsample_from_grid(branch(feat), factor, size).relu()
                for branch, feat, factor in zip(self.branches, feats, self.factors)]
        return self.conv_edge(torch.cat(maps, dim=1))
