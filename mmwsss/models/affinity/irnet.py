"""IRNet: inter-pixel relations, and the random walk within the edges."""
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.affinity.affinity_loss import sort_pairs
from mmwsss.models.affinity.base_affinity_model import TINY, BaseAffinityModel
from mmwsss.models.affinity.pixel_pairs import edge_affinity, half_disc_offsets
from mmwsss.models.utils.label_grid import central_labels, upsample_from_grid
from mmwsss.registry import MODELS
from mmwsss.structures.maps import grid_size, rescale_images, resize_maps


@MODELS.register_module()
class IRNet(BaseAffinityModel):
    """Learns boundaries between classes, and displacements to centroids, from the confident parts of CAMs.

    "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations" (CVPR 2019,
    https://arxiv.org/abs/1904.05044), the part for semantic segmentation. The affinity of two pixels is
    ``1 - max sigmoid(edge)`` over the way between them; no edge is ever labelled, it follows from the losses of the
    affinities (:class:`mmwsss.models.affinity.AffinityLoss`). The displacements are trained along
    (:class:`mmwsss.models.affinity.DisplacementLoss`); label maps do not need them. A prediction is where the CAM,
    times ``1 - edge``, gets to in a random walk along the affinities, divided by the image's maximum, above a constant
    background.

    The backbone is frozen: it stays in eval mode and gets no gradient.

    Args:
        backbone: Config of the backbone.
        edge_head: Config of the edge branch, whose output has the stride ``grid_stride``.
        displacement_head: Config of the displacement branch.
        loss_affinity: Config of the affinities' loss.
        loss_displacement: Config of the displacements' loss.
        random_walk, radius, border, grid_stride: See :class:`BaseAffinityModel`.
        test_cfg: ``background``: its constant score (default 0.25). ``pad_size``: images are padded with zeros, on the
            right and at the bottom, to squares of this many pixels, in the released code 512 (default ``None``: not
            padded); it shifts the group normalisation. ``scales``: edges are the sigmoid of the mean logit of these
            scales of the image and of its mirror image (default 1 alone; the paper takes several). ``stride``,
            ``normalize`` (default ``'image'``): see :class:`BaseAffinityModel`.
        **kwargs: See :class:`BaseAffinityModel`.

    Raises:
        ValueError: See :class:`BaseAffinityModel`; or if ``background`` is outside of [0, 1) or there is no scale.
    """

    test_defaults = dict(stride=4, normalize='image', background=0.25, pad_size=None, scales=(1.0,))

    def __init__(self, backbone: dict, edge_head: dict, displacement_head: dict, loss_affinity: dict,
                 loss_displacement: dict, random_walk: dict, radius: int = 10, border: str = 'all',
                 grid_stride: int = 4, **kwargs: object) -> None:
        super().__init__(random_walk=random_walk, radius=radius, border=border, grid_stride=grid_stride, **kwargs)
        if not 0 <= self.test_cfg['background'] < 1 or not self.test_cfg['scales']:
            raise ValueError('IRNet test_cfg: background is in [0, 1), and there is at least one of scales, got '
                             f'{self.test_cfg}')
        self.backbone = MODELS.build(backbone)
        self.edge_head = MODELS.build(edge_head)
        self.displacement_head = MODELS.build(displacement_head)
        self.loss_affinity = MODELS.build(loss_affinity)
        self.loss_displacement = MODELS.build(loss_displacement)
        self.offsets = half_disc_offsets(radius)
        self.backbone.requires_grad_(False)

    reduce_labels = staticmethod(central_labels)

    def train(self, mode: bool = True) -> 'IRNet':
        """Sets the training mode of everything but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the feature maps of the frozen backbone."""
        with torch.no_grad():
            return self.backbone(inputs)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of a batch from ``gt_sem_seg`` of the data samples."""
        labels = self.grid_labels(data_samples, inputs)
        edge_logits, displacement = self._forward(inputs)
        return self.losses(edge_logits.float().sigmoid(), displacement, labels)

    def losses(self, edge: Tensor, displacement: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Computes the losses from the outputs of both branches.

        Args:
            edge: N x 1 x h x w in [0, 1].
            displacement: N x 2 x h x w.
            labels: N x h x w, 0 background, 255 ignore.

        Returns:
            The losses by name.
        """
        pairs = sort_pairs(labels, self.offsets, self.border)
        return {**self.loss_affinity(edge_affinity(edge, self.offsets), pairs),
                **self.loss_displacement(displacement, self.offsets, pairs)}

    def refine(self, inputs: Tensor, cams: Tensor) -> Tensor:
        """See :meth:`BaseAffinityModel.refine`."""
        size = inputs.shape[-2:]
        edge = self.edge_map(inputs)
        cams = resize_maps(cams, edge.shape[-2:]) * (1 - edge)
        affinity = edge_affinity(edge, self.random_walk.offsets)
        scores = upsample_from_grid(self.random_walk(affinity, cams), self.grid_stride, size)
        scores = scores / scores.amax(dim=(1, 2, 3), keepdim=True).clamp(min=TINY)
        return F.pad(scores, (0, 0, 0, 0, 1, 0), value=self.test_cfg['background'])

    def edge_map(self, inputs: Tensor) -> Tensor:
        """Computes the edges as a prediction does: from all scales, and the mirror image.

        Args:
            inputs: N x 3 x H x W normalised images.

        Returns:
            N x 1 x h x w in [0, 1], h = ceil(H / grid_stride).
        """
        grid, logits = grid_size(inputs.shape[-2:], self.grid_stride), []
        for scale in self.test_cfg['scales']:
            images = rescale_images(inputs, scale)
            for view, flip in ((images, False), (images.flip(-1), True)):
                logit = self._edge_logits(view).float()
                logits.append(resize_maps(logit.flip(-1) if flip else logit, grid))
        return torch.stack(logits).mean(dim=0).sigmoid()

    def _edge_logits(self, inputs: Tensor) -> Tensor:
        """Runs the edge branch on padded images, and crops its maps to the images."""
        (height, width), pad_size = inputs.shape[-2:], self.test_cfg['pad_size'] or 0
        padded = F.pad(inputs, (0, max(0, pad_size - width), 0, max(0, pad_size - height)))
        rows, columns = grid_size((height, width), self.grid_stride)
        return self.edge_head(self.extract_feat(padded))[..., :rows, :columns]

    @torch.no_grad()
    def update_mean_displacement(self, batches: Iterable[Tensor]) -> None:
        """Sets the mean displacement, which is taken off in eval mode, to that of the training images.

        Args:
            batches: Normalised images N x 3 x H x W, this rank's share; the mean is over those of all ranks.
        """
        was_training = self.training
        self.eval()
        buffer = self.displacement_head.mean_displacement
        totals = buffer.new_zeros(3, dtype=torch.float64)  # of both components, and the number of positions
        for inputs in batches:
            displacement = self.displacement_head.forward_raw(self.extract_feat(inputs)).double()
            totals[:2] += displacement.sum(dim=(0, 2, 3))
            totals[2] += displacement[:, 0].numel()
        all_reduce(totals)
        buffer.copy_(totals[:2] / totals[2].clamp(min=1))
        self.train(was_training)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> tuple[Tensor, Tensor]:
        """Returns the logits of the edges N x 1 x h x w and the displacements N x 2 x h x w."""
        feats = self.extract_feat(inputs)
        return self.edge_head(feats), self.displacement_head(feats)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict] | None = None) -> Tensor:
        """Returns the edges N x 1 x H x W of the input, in [0, 1]."""
        return upsample_from_grid(self.edge_map(inputs), self.grid_stride, inputs.shape[-2:])
