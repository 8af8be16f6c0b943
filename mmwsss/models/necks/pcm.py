"""The pixel correlation module (PCM) of SEAM."""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmwsss.models.losses.ecr_loss import keep_highest_foreground, with_background
from mmwsss.registry import MODELS
from mmwsss.structures.maps import resize_aligned
from mmwsss.utils.autocast import no_autocast

EPS = 1e-5
# Entries of the affinity matrix that exist at once, over the batch: 64 MiB in float32.
MAX_ENTRIES = 2**24


def pcm_seed(maps: Tensor) -> Tensor:
    """Turns class maps into the maps that PCM spreads.

    Per image and class ``s_c = relu(relu(cam_c) - 1e-5) / (max(relu(cam_c)) + 1e-5)``; the background is
    ``1 - max_c s_c`` (eq. 11 of the paper); a foreground entry that is not the largest of its pixel becomes 0.

    Args:
        maps: N x C x h x w class maps, not rectified.

    Returns:
        N x (C + 1) x h x w in [0, 1], background first; without gradient.
    """
    cam = F.relu(maps.detach().float())
    peak = cam.amax(dim=(2, 3), keepdim=True)
    foreground = F.relu(cam - EPS) / (peak + EPS)
    return keep_highest_foreground(with_background(foreground))


def normalize_features(features: Tensor) -> Tensor:
    """Divides the feature vector of every position by (its length + 1e-5): ``theta / (||theta||_2 + 1e-5)``.

    Args:
        features: N x D x L.

    Returns:
        N x D x L of lengths below 1, float32.
    """
    features = features.float()
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + EPS)


def affinity_columns(features: Tensor, columns: Tensor) -> Tensor:
    """Computes columns of PCM's affinity matrix (eq. 5 and 6): rectified cosines with column sums of one.

    Args:
        features: N x D x L from :func:`normalize_features`.
        columns: N x D x B, the features of the columns' positions.

    Returns:
        N x L x B, non-negative; column j says how much every position gives to position j.
    """
    affinity = F.relu(features.transpose(1, 2) @ columns)
    return affinity / (affinity.sum(dim=1, keepdim=True) + EPS)


def pixel_correlation(maps: Tensor, features: Tensor, max_entries: int = MAX_ENTRIES) -> Tensor:
    """Replaces the value at every position by the mean over positions of similar features (eq. 6).

    ``A = relu(f^T f)`` with ``f = features / (||features|| + 1e-5)``, columns divided by (their sum + 1e-5),
    ``result = maps A``. Columns do not depend on each other, so above ``max_entries`` they are computed in blocks,
    again in the backward pass; the result is the same.

    Args:
        maps: N x K x h x w.
        features: N x D x h x w.
        max_entries: How many of the N (hw)^2 entries of A may exist at once (at least one column does).

    Returns:
        N x K x h x w, float32, whatever the precision of the inputs.
    """
    num_images, _, height, width = features.shape
    length = height * width
    with no_autocast(features.device):
        f = normalize_features(features.flatten(2))
        seed = maps.float().flatten(2)

        def spread(columns: Tensor) -> Tensor:
            return seed @ affinity_columns(f, columns)

        block = max(1, max_entries // max(1, num_images * length))
        if block >= length:
            result = spread(f)
        else:
            blocks = f.split(block, dim=2)
            # Importing what checkpoint needs takes half a second, which inference can do without.
            result = torch.cat([checkpoint(spread, columns, use_reentrant=False, preserve_rng_state=False)
                                if torch.is_grad_enabled() else spread(columns) for columns in blocks], dim=2)
    return result.unflatten(2, (height, width))


@MODELS.register_module()
class PCM(BaseModule):
    """Pixel correlation module: revises class maps by the similarity of low-level features.

    "Self-supervised Equivariant Attention Mechanism" (CVPR 2020), section 3.3. The similarity is the rectified
    cosine of ``theta([image; relu(conv(f_1)); relu(conv(f_2)); ...])``, everything at the size of the class maps.
    Class maps and features are detached ("cut off at the intersection point"): a loss on the revised maps trains
    the 1x1 convolutions in here and nothing else.

    Args:
        in_channels: Channels of the feature maps that are used.
        in_indices: Their places among the model's feature maps.
        reduced_channels: Channels that each is reduced to.
        channels: Channels of theta.
        image_scale: Factor for the normalised image. The image is meant to have about unit variance (ImageNet's
            standard deviation); for a network whose input is not divided by it, 1 / 57.
        max_entries: See :func:`pixel_correlation`.
        init_cfg: Initialisation; default Kaiming normal, and Xavier with gain 4 for theta.

    Raises:
        ValueError: If the three lists differ in length.
    """

    def __init__(self, in_channels: Sequence[int] = (512, 1024), in_indices: Sequence[int] = (0, 1),
                 reduced_channels: Sequence[int] = (64, 128), channels: int = 192, image_scale: float = 1.0,
                 max_entries: int = MAX_ENTRIES, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg or [
            dict(type='Kaiming', layer='Conv2d', mode='fan_in', nonlinearity='relu',
                 override=dict(type='Xavier', name='theta', gain=4, distribution='uniform'))])
        if not len(in_channels) == len(in_indices) == len(reduced_channels):
            raise ValueError('PCM: in_channels, in_indices and reduced_channels need the same length, got '
                             f'{in_channels}, {in_indices}, {reduced_channels}')
        self.in_indices = tuple(in_indices)
        self.image_scale = image_scale
        self.max_entries = max_entries
        self.reduce = nn.ModuleList(nn.Conv2d(i, o, 1, bias=False) for i, o in zip(in_channels, reduced_channels))
        self.theta = nn.Conv2d(3 + sum(reduced_channels), channels, 1, bias=False)

    def embed(self, feats: Sequence[Tensor], images: Tensor, size: tuple[int, int]) -> Tensor:
        """Computes theta.

        Args:
            feats: The model's feature maps.
            images: N x 3 x H x W normalised images.
            size: (h, w) of the result.

        Returns:
            N x channels x h x w.
        """
        # In full precision: float16 has no room for sums over a thousand channels of large features.
        dtype = self.theta.weight.dtype
        with no_autocast(images.device):
            parts = [resize_aligned(images.to(dtype) * self.image_scale, size)]
            for index, conv in zip(self.in_indices, self.reduce):
                parts.append(resize_aligned(F.relu(conv(feats[index].detach().to(dtype))), size))
            return self.theta(torch.cat(parts, dim=1))

    def forward(self, maps: Tensor, feats: Sequence[Tensor], images: Tensor) -> Tensor:
        """Revises class maps.

        Args:
            maps: N x C x h x w class maps, not rectified.
            feats: The model's feature maps.
            images: N x 3 x H x W normalised images.

        Returns:
            N x (C + 1) x h x w in [0, 1], float32, background first.
        """
        size = tuple(maps.shape[-2:])
        return pixel_correlation(pcm_seed(maps), self.embed(feats, images, size), self.max_entries)

    def affinity(self, feats: Sequence[Tensor], images: Tensor, size: tuple[int, int],
                 points: Sequence[tuple[float, float]]) -> Tensor:
        """Computes the affinity maps of some points (Fig. 5).

        Args:
            feats: The feature maps of one image.
            images: 1 x 3 x H x W, the image.
            size: (h, w) of the maps.
            points: (x, y) of each point, as fractions of width and height in [0, 1).

        Returns:
            P x h x w: how much every position gives to each point; each map sums to (almost) one.
        """
        height, width = size
        index = [math.floor(y * height) * width + math.floor(x * width) for x, y in points]
        with no_autocast(images.device):
            f = normalize_features(self.embed(feats, images, size).flatten(2))
            return affinity_columns(f, f[:, :, index])[0].T.unflatten(1, (height, width))
