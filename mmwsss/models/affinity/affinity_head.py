"""The head of AffinityNet: feature maps to an embedding whose distances say what belongs together."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.maps import resize_maps
from mmwsss.utils.autocast import no_autocast

# Xavier with a gain of 4 on the last layer, Kaiming before, as in the released code.
INIT_CFG = (dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu'),
            dict(type='Xavier', gain=4, distribution='uniform', override=dict(name='embed')))


@MODELS.register_module()
class AffinityHead(BaseModule):
    """1x1 convolutions of several feature maps, together once more through a 1x1 convolution, each followed by an ELU.

    "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised Semantic Segmentation"
    (CVPR 2018), section 3.2 and the network in its implementation details: 64, 128 and 256 channels of ResNet38's
    conv4, conv5 and conv6 become 448.

    Args:
        in_channels: Channels of the feature maps.
        in_indices: Which of the backbone's feature maps they are.
        reduced_channels: Channels of each after its own convolution.
        channels: Channels of the embedding; ``None``: the sum of ``reduced_channels``.
        init_cfg: Initialisation; default :data:`INIT_CFG`.

    Raises:
        ValueError: If the three sequences do not have the same length of at least one.
    """

    def __init__(self, in_channels: Sequence[int] = (512, 1024, 4096), in_indices: Sequence[int] = (0, 1, 2),
                 reduced_channels: Sequence[int] = (64, 128, 256), channels: int | None = None,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg or [dict(cfg) for cfg in INIT_CFG])
        if not len(in_channels) == len(in_indices) == len(reduced_channels) > 0:
            raise ValueError('AffinityHead: in_channels, in_indices and reduced_channels are of the same feature maps, '
                             f'got {in_channels}, {in_indices} and {reduced_channels}')
        self.in_indices = tuple(in_indices)
        self.reduce = nn.ModuleList(nn.Conv2d(old, new, 1, bias=False)
                                    for old, new in zip(in_channels, reduced_channels))
        total = sum(reduced_channels)
        self.embed = nn.Conv2d(total, channels or total, 1, bias=False)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Computes the embedding.

        Args:
            feats: Feature maps, those at ``in_indices`` are used; of several sizes, all are resized to the first of
                them.

        Returns:
            N x channels x h x w, above -1; float32, since affinities are exponentials of small differences.
        """
        reduced = [F.elu(conv(feats[i])) for conv, i in zip(self.reduce, self.in_indices)]
        size = reduced[0].shape[-2:]
        joined = [maps if maps.shape[-2:] == size else resize_maps(maps, size) for maps in reduced]
        with no_autocast(joined[0].device):
            return F.elu(self.embed(torch.cat(joined, dim=1).float()))
