"""SLAMs: activation maps that a semantic encoder evaluates."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.classifiers.base_cam_model import BaseCAMModel, name_feats, stack_labels
from mmwsss.models.classifiers.semantic_encoder import check_start
from mmwsss.models.heads.activation_head import ActivationHead
from mmwsss.models.heads.cam_head import global_average_pool
from mmwsss.models.losses.semantic_loss import (
    ActivationComplementLoss,
    ActivationConsistencyLoss,
    present_categories,
)
from mmwsss.models.utils import ComposeViews, find_inside
from mmwsss.registry import MODELS
from mmwsss.structures import CAMOutput
from mmwsss.structures.maps import rescale_images, resize_maps
from mmwsss.utils.errors import UserError

BACKGROUNDS = ('complement', 'own')
ACTIVATIONS = ('relu', 'sigmoid')
CATEGORIES = ('foreground', 'all')


@MODELS.register_module()
class SLAM(BaseCAMModel):
    """Activation network, trained by what a frozen semantic encoder sees in the images that its maps cut out.

    A RECONSTRUCTION of "SLAMs: Semantic Learning based Activation Map" (https://arxiv.org/abs/2210.12417) from its
    abstract and SemFormer, not a reproduction: the paper's method section is not public. configs/slams/README.md lists
    what is assumed. The activations M have K = C + 1 channels, the background first. For every category k in an image
    the encoder looks at I * M_k and at I * (1 - M_k), where I is the normalised image, so that what is masked becomes
    the mean colour. The losses are

    - ``loss_foreground``: I * M_k shows k and no other category (accuracy);
    - ``loss_background``: I * (1 - M_k) shows all others and not k (completeness);
    - ``loss_regularization``: objects are small, the background is large (compactness);
    - ``loss_consistency``: foreground and background add up to 1, or two views of an image have the same
      activations, by its type (consistency);
    - ``loss_cls``: the classification loss of the class maps.

    Predictions must be chosen by labels, and do without the encoder.

    Args:
        backbone: Config of the activation network's backbone.
        cam_head: Config of its head: a :class:`mmwsss.models.CAMHead` for ``background='complement'``, an
            :class:`mmwsss.models.ActivationHead` for ``'own'``.
        encoder: Config of the :class:`SemanticEncoder`; ``encoder.init_cfg`` names its checkpoint.
        background: ``'complement'``: M_0 is one less the maximum of the classes in the image. ``'own'``: a map of its
            own.
        activation: How maps become activations: ``'sigmoid'``, of maps that are divided by ``temperature``;
            ``'relu'``: rectified and divided by their maximum, which gets no gradient.
        temperature: Those of a trained classifier reach 10 and more, where a sigmoid has no gradient left.
        loss_categories: Categories that ``loss_foreground`` and ``loss_background`` are computed for: the classes in
            the image (``'foreground'``), or the background as well (``'all'``). Every image that the encoder learns
            from has background, so it finds background in anything; see ``tools/benchmark/slam_objective.py``.
        encoder_scale: The encoder sees the masked images at this scale.
        cam_activation: The CAM: rectified maps (``'relu'``), or the ``'sigmoid'`` of the activations.
        views: Configs of the transformations of the second view, for a consistency of two views.
        loss_foreground: Config of the category-foreground loss; ``None``: without, as for the others.
        loss_background: Config of the category-background loss.
        loss_regularization: Config of the activation regularisation.
        loss_consistency: Config of the consistency.
        cls_weight: Weight of the classification loss; 0: without.
        **kwargs: See :class:`BaseCAMModel`.

    Raises:
        ValueError: For an unknown name; if ``test_cfg.class_filter`` is ``'score'``, encoder and head have another
            number of classes, the head does not suit ``background``, or there is neither ``loss_foreground`` nor
            ``loss_background``, without which nothing says what the maps show.
    """

    def __init__(self, backbone: dict, cam_head: dict, encoder: dict, background: str = 'complement',
                 activation: str = 'sigmoid', temperature: float = 3.0, loss_categories: str = 'foreground',
                 encoder_scale: float = 0.5, cam_activation: str = 'relu',
                 views: Sequence[dict] = (dict(type='FlipView'), dict(type='RescaleView', scale=0.5)),
                 loss_foreground: dict | None = None, loss_background: dict | None = None,
                 loss_regularization: dict | None = None, loss_consistency: dict | None = None,
                 cls_weight: float = 1.0, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name, value, known in (('background', background, BACKGROUNDS), ('activation', activation, ACTIVATIONS),
                                   ('cam_activation', cam_activation, ACTIVATIONS),
                                   ('loss_categories', loss_categories, CATEGORIES)):
            if value not in known:
                raise ValueError(f'SLAM: {name} is one of {known}, got {value!r}')
        if encoder_scale <= 0 or temperature <= 0 or cls_weight < 0:
            raise ValueError('SLAM: encoder_scale and temperature are positive and cls_weight not negative, got '
                             f'{encoder_scale}, {temperature} and {cls_weight}')
        if self.test_cfg['class_filter'] == 'score':
            raise ValueError('SLAM: nothing trains the maps of absent classes; choose by labels '
                             '(test_cfg.class_filter=label)')
        self.background, self.activation, self.loss_categories = background, activation, loss_categories
        self.encoder_scale, self.cam_activation, self.cls_weight = encoder_scale, cam_activation, cls_weight
        self.temperature = temperature
        self.backbone = MODELS.build(backbone)
        self.cam_head = MODELS.build(cam_head)
        if isinstance(self.cam_head, ActivationHead) != (background == 'own'):
            raise ValueError(f'SLAM: background={background!r} does not go with a {type(self.cam_head).__name__}; '
                             'ActivationHead has a map for the background (own), CAMHead has none (complement)')
        self.encoder = MODELS.build(encoder).requires_grad_(False).eval()
        if self.encoder.num_classes != self.num_classes:
            raise ValueError(f'SLAM: the head has {self.num_classes} classes, the encoder {self.encoder.num_classes}')
        if not (loss_foreground or loss_background):
            raise ValueError('SLAM: needs loss_foreground or loss_background, which say what the maps show')
        if background == 'complement' and loss_consistency and loss_consistency['type'] == 'ActivationComplementLoss':
            raise ValueError("SLAM: with background='complement' foreground and background add up to 1 anyway; leave "
                             'out loss_consistency')
        self.view = ComposeViews(views)
        self.loss_foreground = MODELS.build(loss_foreground) if loss_foreground else None
        self.loss_background = MODELS.build(loss_background) if loss_background else None
        self.loss_regularization = MODELS.build(loss_regularization) if loss_regularization else None
        self.loss_consistency = MODELS.build(loss_consistency) if loss_consistency else None

    def _filtered_cam(self, inputs: Tensor, data_samples: list[SegDataSample],
                      options: dict) -> tuple[CAMOutput, Tensor, list[str]]:
        # A call may ask for what the config must not: an image without label.
        if options['class_filter'] != 'label':
            raise UserError('SLAM needs the classes of an image, since nothing trains the maps of absent ones; give '
                            'its labels')
        return super()._filtered_cam(inputs, data_samples, options)

    def init_weights(self) -> None:
        """Initialises the activation network, and loads the encoder.

        Raises:
            UserError: If the config names no checkpoint of the encoder, or of the classifier to start from where it
                starts from one.
        """
        init_cfg = self.encoder.init_cfg
        if not init_cfg or (isinstance(init_cfg, dict) and not init_cfg.get('checkpoint')):
            raise UserError('SLAM: the semantic encoder has no weights; train one (configs/slams/encoder_*.py) and '
                            'name its checkpoint: --cfg-options model.encoder.init_cfg.checkpoint=FILE')
        check_start(self, 'backbone', 'cam_head')
        super().init_weights()

    def train(self, mode: bool = True) -> 'SLAM':
        """Sets the mode of everything but the encoder, which stays in evaluation mode."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    def drop_training_parts(self) -> tuple[str, ...]:
        """Removes the encoder, which predictions do not need.

        Returns:
            Patterns of the keys that a checkpoint of a training has for it.
        """
        self.encoder = None
        return (r'^encoder\.',)

    @property
    def num_classes(self) -> int:
        """Number of foreground classes C."""
        return self.cam_head.num_classes

    def forward_maps(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See :meth:`BaseCAMModel.forward_maps`; the maps of the foreground before they become activations."""
        feats = self.backbone(inputs)
        maps = self.cam_head(feats)
        return maps[:, 1:] if self.background == 'own' else maps, feats

    def pool(self, maps: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.pool`: the mean."""
        return global_average_pool(maps)

    def compute_cam(self, inputs: Tensor, labels: Tensor | None = None) -> CAMOutput:
        """The model's own CAM function, by ``cam_activation``.

        Args:
            inputs: N x 3 x H x W normalised images.
            labels: Not used: the maps of all classes are returned.

        Returns:
            Maps of the foreground, not negative, scores, and features, see :meth:`BaseCAMModel.compute_cam`.
        """
        maps, feats = self.forward_maps(inputs)
        cam = F.relu(maps.float()) if self.cam_activation == 'relu' else (maps.float() / self.temperature).sigmoid()
        return CAMOutput(cam=cam, logits=self.pool(maps), feats=name_feats(feats),
                         attentions=getattr(feats, 'attentions', None))

    def activations(self, maps: Tensor, present: Tensor, size: tuple[int, int]) -> Tensor:
        """Turns the maps of the head into activations.

        Args:
            maps: N x C x h x w (``background='complement'``) or N x K x h x w.
            present: N x K, 0 or 1.
            size: (H, W) of the result.

        Returns:
            N x K x H x W in [0, 1], background first; float32.
        """
        maps = maps.float()
        if self.activation == 'sigmoid':
            result = (maps / self.temperature).sigmoid()
        else:
            result = F.relu(maps)
            result = result / result.detach().amax(dim=(2, 3), keepdim=True).clamp(min=1e-5)
        result = resize_maps(result, size)
        if self.background == 'own':
            return result
        objects = present[:, 1:, None, None].to(result.dtype) * result
        return torch.cat([1 - objects.amax(dim=1, keepdim=True), result], dim=1)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of a batch from ``gt_img_label`` of the data samples."""
        labels = stack_labels(data_samples).to(inputs.device)
        present = present_categories(labels)
        size = tuple(inputs.shape[-2:])
        maps = self.cam_head(self.backbone(inputs))
        activations = self.activations(maps, present, size)
        losses = self.activation_losses(inputs, activations, present)
        if isinstance(self.loss_consistency, ActivationConsistencyLoss):
            transform = self.view.sample(len(inputs), size)
            view = transform(inputs)
            others = self.activations(self.cam_head(self.backbone(view)), present, tuple(view.shape[-2:]))
            # Outside of the image there is nothing, not even background.
            inside = find_inside(transform, activations) if self.view.takes_in else None
            losses['loss_consistency'] = self.loss_consistency(transform(activations), others, present, inside)
        if self.cls_weight:
            objects = maps[:, 1:] if self.background == 'own' else maps
            losses['loss_cls'] = self.cls_weight * self.loss_by_maps(objects, labels)
        return losses

    def activation_losses(self, inputs: Tensor, activations: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Computes the losses of given activations: those by the encoder, and those that need one view only.

        Args:
            inputs: N x 3 x H x W normalised images.
            activations: N x K x H x W in [0, 1], background first.
            present: N x K, 0 or 1.

        Returns:
            ``loss_foreground``, ``loss_background``, ``loss_regularization``, and ``loss_consistency`` if it is that of
            foreground and background; those that the model has.
        """
        categories = present
        if self.loss_categories == 'foreground':
            categories = torch.cat([torch.zeros_like(present[:, :1]), present[:, 1:]], dim=1)
        image, category = categories.nonzero(as_tuple=True)
        masks = activations[image, category][:, None].to(inputs.dtype)
        losses = {}
        for name, loss, kept in (('loss_foreground', self.loss_foreground, masks),
                                 ('loss_background', self.loss_background, 1 - masks)):
            if loss is not None:
                seen = rescale_images(inputs[image] * kept, self.encoder_scale)
                losses[name] = loss(self.encoder.similarity(seen), category, categories[image])
        if self.loss_regularization is not None:
            losses['loss_regularization'] = self.loss_regularization(activations, present)
        if isinstance(self.loss_consistency, ActivationComplementLoss):
            losses['loss_consistency'] = self.loss_consistency(activations, present)
        return losses
