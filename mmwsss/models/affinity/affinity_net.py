"""AffinityNet: pixel-level semantic affinity, and the random walk over it."""
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.affinity.affinity_loss import sort_pairs
from mmwsss.models.affinity.base_affinity_model import BaseAffinityModel
from mmwsss.models.affinity.pixel_pairs import Offset, clipped_radius, feature_affinity, half_disc_offsets
from mmwsss.models.utils.label_grid import most_frequent_labels, pool_to_grid, upsample_from_grid
from mmwsss.registry import MODELS
from mmwsss.structures.maps import grid_size, resize_maps


@MODELS.register_module()
class AffinityNet(BaseAffinityModel):
    """Learns which near pixels are of one class, from the confident parts of CAMs, and completes CAMs by it.

    "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly Supervised Semantic Segmentation"
    (CVPR 2018, https://arxiv.org/abs/1803.10464). The affinity ``exp(-mean_c |f_c(i) - f_c(j)|)`` of two near pixels is
    pulled to 1 where both are background or of one class, and to 0 where they are not
    (:class:`mmwsss.models.affinity.AffinityLoss`). A prediction is where ``[(1 - max_k cam_k)^alpha; cam]`` gets to in
    a random walk along the affinities.

    Args:
        backbone: Config of the backbone.
        affinity_head: Config of the head; its first feature map has the stride ``grid_stride``.
        loss_affinity: Config of the loss.
        random_walk, border, grid_stride: See :class:`BaseAffinityModel`.
        radius: Likewise. For a grid that is small for it, or for the walk's, see
            :func:`mmwsss.models.affinity.clipped_radius`.
        test_cfg: ``alpha``: exponent of the background (default 16; 6 in SEAM's fork). ``stride``,
            ``normalize`` (default ``'background'``): see :class:`BaseAffinityModel`.
        **kwargs: See :class:`BaseAffinityModel`.

    Raises:
        ValueError: See :class:`BaseAffinityModel`; or if ``alpha`` is not above 0.
    """

    test_defaults = dict(stride=4, normalize='background', alpha=16)

    def __init__(self, backbone: dict, affinity_head: dict, loss_affinity: dict, random_walk: dict, radius: int = 5,
                 border: str = 'all', grid_stride: int = 8, **kwargs: object) -> None:
        super().__init__(random_walk=random_walk, radius=radius, border=border, grid_stride=grid_stride, **kwargs)
        if not self.test_cfg['alpha'] > 0:
            raise ValueError(f'AffinityNet: test_cfg.alpha must be above 0, got {self.test_cfg["alpha"]}')
        self.backbone = MODELS.build(backbone)
        self.affinity_head = MODELS.build(affinity_head)
        self.loss_affinity = MODELS.build(loss_affinity)

    reduce_labels = staticmethod(most_frequent_labels)

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Returns the embedding, N x D x h x w with h = ceil(H / grid_stride)."""
        embedding = self.affinity_head(self.backbone(inputs))
        grid = grid_size(inputs.shape[-2:], self.grid_stride)
        if tuple(embedding.shape[-2:]) != grid:
            raise ValueError(f'AffinityNet: the head gives {tuple(embedding.shape[-2:])} for images of '
                             f'{tuple(inputs.shape[-2:])}, which is not grid_stride={self.grid_stride}')
        return embedding

    @staticmethod
    def affinity(embedding: Tensor, radius: int) -> tuple[Tensor, tuple[Offset, ...]]:
        """Computes the affinities of all pairs.

        Args:
            embedding: N x D x h x w.
            radius: Pixels closer than it make pairs.

        Returns:
            N x P x h x w in [0, 1], see :func:`mmwsss.models.affinity.feature_affinity`; and the P offsets
            (dy, dx).
        """
        offsets = half_disc_offsets(clipped_radius(radius, embedding.shape[-2:]))
        return feature_affinity(embedding, offsets), offsets

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of a batch from ``gt_sem_seg`` of the data samples."""
        labels = self.grid_labels(data_samples, inputs)
        affinity, offsets = self.affinity(self.extract_feat(inputs), self.radius)
        return self.loss_affinity(affinity, sort_pairs(labels, offsets, self.border))

    def refine(self, inputs: Tensor, cams: Tensor) -> Tensor:
        """See :meth:`BaseAffinityModel.refine`."""
        size = inputs.shape[-2:]
        cams = resize_maps(cams, size)
        # Resizing rounds a 1 up, and a power of a negative number is NaN, which the walk carries everywhere.
        background = (1 - cams.amax(dim=1, keepdim=True)).clamp(min=0) ** self.test_cfg['alpha']
        scores = pool_to_grid(torch.cat([background, cams], dim=1), self.grid_stride)
        affinity, offsets = self.affinity(self.extract_feat(inputs), self.random_walk.radius)
        return upsample_from_grid(self.random_walk(affinity, scores, offsets), self.grid_stride, size)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Returns the embedding N x D x h x w."""
        return self.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict] | None = None) -> Tensor:
        """Returns the embedding N x D x H x W, at the size of the input."""
        return resize_maps(self.extract_feat(inputs), inputs.shape[-2:])
