"""SEAM: self-supervised equivariant attention."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.classifiers.base_cam_model import BaseCAMModel, name_feats, stack_labels
from mmwsss.models.losses.ecr_loss import with_background
from mmwsss.models.utils import ComposeViews, ViewFunction, find_inside
from mmwsss.registry import MODELS
from mmwsss.structures import CAMOutput
from mmwsss.structures.maps import min_max_normalize, resize_aligned


@MODELS.register_module()
class SEAM(BaseCAMModel):
    """Siamese network whose two views must agree, with a pixel correlation module.

    "Self-supervised Equivariant Attention Mechanism for Weakly Supervised Semantic Segmentation" (CVPR 2020,
    https://arxiv.org/abs/2004.04581). The image I and its transformation A(I) go through the same CAM model, which
    gives the maps cam1 and cam2, and through PCM, which gives the revised maps rev1 and rev2. The losses are

    - ``loss_cls``: classification of both views (eq. 8);
    - ``loss_er``: A(cam1) against cam2 (eq. 9);
    - ``loss_ecr``: A(rev1) against cam2, and rev2 against A(cam1) (eq. 10);
    - ``loss_min_pool`` (in the released code only): the quietest quarter of the revised maps towards zero.

    For training all maps are resized to the size of their view. Where a view looks beyond the image, neither ER nor ECR
    compares anything (:func:`compared_maps`). A prediction takes one branch and is the revised map of the foreground.
    Without ``pcm`` this is the siamese network with equivariant regularisation alone ("ER" in Table 1).

    Args:
        classifier: Config of the CAM model inside, any :class:`BaseCAMModel`.
        pcm: Config of the pixel correlation module; ``None``: without.
        views: Configs of the transformations that A is composed of.
        loss_er: Config of the ER loss; ``None``: without.
        loss_ecr: Config of the ECR loss, needs ``pcm``; ``None``: without.
        loss_min_pool: Config of the min-pooling loss, needs ``pcm``; ``None``: without.
        predict_revised: Whether predictions are the revised maps. ``False``: those of the CAM model inside.
        **kwargs: See :class:`BaseCAMModel`. The hooks, provider and ``test_cfg`` of the classifier inside have no
            effect, nor has its preprocessor.

    Raises:
        ValueError: If there is ``pcm`` without ``loss_ecr`` or the other way round, or ``loss_min_pool`` without
            ``pcm``.
    """

    def __init__(self, classifier: dict, pcm: dict | None = None,
                 views: Sequence[dict] = (dict(type='RescaleView', scale=0.3),),
                 loss_er: dict | None = None, loss_ecr: dict | None = None,
                 loss_min_pool: dict | None = None, predict_revised: bool = True, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if (pcm is None) != (loss_ecr is None) or (pcm is None and loss_min_pool is not None):
            raise ValueError('SEAM: pcm and loss_ecr belong together, since nothing else trains PCM, and '
                             f'loss_min_pool needs them; got pcm={pcm}, loss_ecr={loss_ecr}, '
                             f'loss_min_pool={loss_min_pool}')
        self.classifier = MODELS.build(classifier)
        self.pcm = MODELS.build(pcm) if pcm else None
        self.view = ComposeViews(views)
        self.loss_er = MODELS.build(loss_er) if loss_er else None
        self.loss_ecr = MODELS.build(loss_ecr) if loss_ecr else None
        self.loss_min_pool = MODELS.build(loss_min_pool) if loss_min_pool else None
        self.predict_revised = predict_revised

    @property
    def num_classes(self) -> int:
        """Number of foreground classes C."""
        return self.classifier.num_classes

    def forward_maps(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See :meth:`BaseCAMModel.forward_maps`; the maps are those before PCM, which gradient CAMs need."""
        return self.classifier.forward_maps(inputs)

    def pool(self, maps: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.pool`."""
        return self.classifier.pool(maps)

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.loss_by_maps`."""
        return self.classifier.loss_by_maps(maps, labels)

    def compute_cam(self, inputs: Tensor, labels: Tensor | None = None) -> CAMOutput:
        """The model's own CAM function: the revised maps of the foreground.

        Args:
            inputs: N x 3 x H x W normalised images.
            labels: Not used: the maps of all classes are returned.

        Returns:
            See :meth:`BaseCAMModel.compute_cam`; the scores are those of the class maps before PCM.
        """
        if self.pcm is None or not self.predict_revised:
            return self.classifier.compute_cam(inputs, labels)
        maps, feats = self.forward_maps(inputs)
        return CAMOutput(cam=F.relu(self.pcm(maps, feats, inputs)[:, 1:]), logits=self.pool(maps),
                         feats=name_feats(feats), attentions=getattr(feats, 'attentions', None))

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of a batch from ``gt_img_label`` of the data samples."""
        labels = stack_labels(data_samples).to(inputs.device)
        transform = self.view.sample(inputs.shape[0], tuple(inputs.shape[-2:]))
        view1, view2 = inputs, transform(inputs)
        return self.losses(*self._view_maps(view1), *self._view_maps(view2), transform, labels)

    def _view_maps(self, view: Tensor) -> tuple[Tensor, Tensor | None]:
        """Class maps N x C x H x W and revised maps N x (C + 1) x H x W of a view, at its size."""
        maps, feats = self.forward_maps(view)
        revised = None if self.pcm is None else resize_aligned(self.pcm(maps, feats, view), view.shape[-2:])
        return resize_aligned(maps.float(), view.shape[-2:]), revised

    def losses(self, cam1: Tensor, revised1: Tensor | None, cam2: Tensor, revised2: Tensor | None,
               transform: ViewFunction, labels: Tensor) -> dict[str, Tensor]:
        """Computes the losses from the maps of both views.

        Args:
            cam1: N x C x H x W class maps of the image, not rectified.
            revised1: N x (C + 1) x H x W revised maps of the image, background first; ``None`` without PCM.
            cam2: N x C x H' x W', those of the transformed image.
            revised2: N x (C + 1) x H' x W', those of the transformed image; ``None`` without PCM.
            transform: A, drawn from ``self.view``: a function from maps of H x W to maps of H' x W', zero where it
                looks beyond the image.
            labels: N x C multi-hot.

        Returns:
            The losses by name.
        """
        present = labels[:, :, None, None].to(cam1.dtype)
        losses = dict(loss_cls=(self.loss_by_maps(cam1, labels) + self.loss_by_maps(cam2, labels)) / 2)
        # With rescaling and flips alone, normalisation has nothing to leave out: this is the released code.
        inside = find_inside(transform, cam1) if self.view.takes_in else None
        a_cam1, of_a_cam2 = (maps * present for maps in compared_maps(cam1, cam2, transform, inside))
        if self.loss_er is not None:
            losses['loss_er'] = self.loss_er(a_cam1, of_a_cam2)
        if self.pcm is None:
            return losses
        present = torch.cat([torch.ones_like(present[:, :1]), present], dim=1)
        if self.loss_min_pool is not None:
            losses['loss_min_pool'] = (self.loss_min_pool((revised1 * present)[:, 1:])
                                       + self.loss_min_pool((revised2 * present)[:, 1:])) / 2
        revised = (maps * present for maps in compared_maps(revised1, revised2, transform, inside))
        a_revised1, of_a_revised2 = (maps if inside is None else background_outside(maps, inside) for maps in revised)
        losses['loss_ecr'] = (self.loss_ecr(with_background(of_a_cam2), a_revised1)
                              + self.loss_ecr(with_background(a_cam1), of_a_revised2))
        return losses


def compared_maps(maps1: Tensor, maps2: Tensor, transform: ViewFunction,
                  inside: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Normalises the maps of both views and transforms those of the first: A(F(I)) and F(A(I)) of SEAM's eq. 9 and 10.

    The released code, which only rescales, normalises the first view's maps and then transforms them. Minimum and
    maximum of an image may be moved out of the view, though, and what comes in is no value of a map: then A comes
    first, and both are normalised over the pixels inside. Maps with ``maps2 = A(maps1)`` inside are then the same,
    whatever ``maps2`` is outside.

    Args:
        maps1: N x C x H x W maps of the image.
        maps2: N x C x H' x W' maps of the transformed image.
        transform: A.
        inside: N x 1 x H' x W' bools, see :func:`~mmwsss.models.utils.find_inside`; ``None``: all are
            inside.

    Returns:
        Two tensors N x C x H' x W' in [0, 1), float32; zero outside. An image that is inside as a whole has the same as
        with ``None``.
    """
    transformed = transform(min_max_normalize(maps1))
    if inside is None:
        return transformed, min_max_normalize(maps2)
    whole = inside.all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
    transformed = torch.where(whole, transformed, min_max_normalize(transform(maps1), inside=inside))
    return transformed, min_max_normalize(maps2, inside=inside)


def background_outside(maps: Tensor, inside: Tensor) -> Tensor:
    """Sets the background of maps N x (C + 1) x h x w to 1, as eq. 11 does, where ``inside`` N x 1 x h x w is False."""
    return torch.cat([maps[:, :1].masked_fill(~inside, 1), maps[:, 1:]], dim=1)
