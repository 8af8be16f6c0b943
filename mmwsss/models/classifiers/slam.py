"""SLAMs: activation maps that a semantic encoder evaluates."""
from collections.abc import Sequence

from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.classifiers.base_cam_model import BaseCAMModel, name_feats, stack_labels
from mmwsss.models.heads.cam_head import global_average_pool
from mmwsss.models.losses.semantic_loss import present_categories
from mmwsss.models.utils import ComposeViews
from mmwsss.registry import MODELS
from mmwsss.structures import CAMOutput
from mmwsss.structures.maps import resize_maps
from mmwsss.utils.errors import UserError


@MODELS.register_module()
class SLAM(BaseCAMModel):
    """Activation network, trained by what a frozen semantic encoder sees in the images that its maps cut out.

    A RECONSTRUCTION of "SLAMs: Semantic Learning based Activation Map" (https://arxiv.org/abs/2210.12417) from its
    abstract and SemFormer, not a reproduction: the paper's method section is not public. configs/slams/README.md lists
    what is assumed. The activations M = sigmoid(maps) have K = C + 1 channels, the background first. For every category
    k in an image (the background is in every one) the encoder looks at I * M_k and at I * (1 - M_k), where I is
    the normalised image, so that what is masked becomes the mean colour. The losses are

    - ``loss_foreground``: I * M_k shows k and no other category (accuracy);
    - ``loss_background``: I * (1 - M_k) shows all others and not k (completeness);
    - ``loss_regularization``: objects are small, the background is large (compactness);
    - ``loss_consistency``: the transformed image has the transformed activations (consistency).

    Maps of classes that are not in an image are trained by nothing, so predictions must be chosen by labels. The
    encoder is not part of predictions.

    Args:
        backbone: Config of the activation network's backbone.
        cam_head: Config of its head, an :class:`mmwsss.models.ActivationHead`.
        encoder: Config of the :class:`SemanticEncoder`; ``encoder.init_cfg`` names its checkpoint.
        views: Configs of the transformations of the second view.
        loss_foreground: Config of the category-foreground loss; ``None``: without, as for the others.
        loss_background: Config of the category-background loss.
        loss_regularization: Config of the activation regularisation.
        loss_consistency: Config of the consistency.
        **kwargs: See :class:`BaseCAMModel`.

    Raises:
        ValueError: If ``test_cfg.class_filter`` is ``'score'``, encoder and head have another number of classes, or
            there is neither ``loss_foreground`` nor ``loss_background``, without which nothing says what the maps show.
    """

    def __init__(self, backbone: dict, cam_head: dict, encoder: dict,
                 views: Sequence[dict] = (dict(type='FlipView'), dict(type='RescaleView', scale=0.5)),
                 loss_foreground: dict | None = None, loss_background: dict | None = None,
                 loss_regularization: dict | None = None, loss_consistency: dict | None = None,
                 **kwargs: object) -> None:
        super().__init__(**kwargs)
        if self.test_cfg['class_filter'] == 'score':
            raise ValueError('SLAM: nothing trains the maps of absent classes; choose by labels '
                             '(test_cfg.class_filter=label)')
        self.backbone = MODELS.build(backbone)
        self.cam_head = MODELS.build(cam_head)
        self.encoder = MODELS.build(encoder).requires_grad_(False).eval()
        if self.encoder.num_classes != self.num_classes:
            raise ValueError(f'SLAM: the head has {self.num_classes} classes, the encoder {self.encoder.num_classes}')
        if not (loss_foreground or loss_background):
            raise ValueError('SLAM: needs loss_foreground or loss_background, which say what the maps show')
        self.view = ComposeViews(views)
        self.loss_foreground = MODELS.build(loss_foreground) if loss_foreground else None
        self.loss_background = MODELS.build(loss_background) if loss_background else None
        self.loss_regularization = MODELS.build(loss_regularization) if loss_regularization else None
        self.loss_consistency = MODELS.build(loss_consistency) if loss_consistency else None

    def init_weights(self) -> None:
        """Initialises the activation network, and loads the encoder.

        Raises:
            UserError: If the config names no checkpoint of the encoder.
        """
        init_cfg = self.encoder.init_cfg
        if not init_cfg or (isinstance(init_cfg, dict) and not init_cfg.get('checkpoint')):
            raise UserError('SLAM: the semantic encoder has no weights; train one (configs/slams/encoder_*.py) and '
                            'name its checkpoint: --cfg-options model.encoder.init_cfg.checkpoint=FILE')
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

    def category_maps(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns the maps N x K x h x w before the sigmoid, background first, and the feature maps."""
        feats = self.backbone(inputs)
        return self.cam_head(feats), feats

    def forward_maps(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See :meth:`BaseCAMModel.forward_maps`; the maps of the foreground before the sigmoid."""
        maps, feats = self.category_maps(inputs)
        return maps[:, 1:], feats

    def pool(self, maps: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.pool`: the mean; no loss trains it to say which classes there are."""
        return global_average_pool(maps)

    def compute_cam(self, inputs: Tensor, labels: Tensor | None = None) -> CAMOutput:
        """The model's own CAM function: the activations of the foreground.

        Args:
            inputs: N x 3 x H x W normalised images.
            labels: Not used: the maps of all classes are returned.

        Returns:
            Activations in [0, 1], scores, and features, see :meth:`BaseCAMModel.compute_cam`.
        """
        maps, feats = self.forward_maps(inputs)
        return CAMOutput(cam=maps.float().sigmoid(), logits=self.pool(maps), feats=name_feats(feats),
                         attentions=getattr(feats, 'attentions', None))

    def activations(self, inputs: Tensor) -> Tensor:
        """Returns the activations N x K x H x W of normalised images, background first, at their size."""
        return resize_maps(self.category_maps(inputs)[0].float().sigmoid(), inputs.shape[-2:])

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of a batch from ``gt_img_label`` of the data samples."""
        present = present_categories(stack_labels(data_samples).to(inputs.device))
        activations = self.activations(inputs)
        image, category = present.nonzero(as_tuple=True)
        masks = activations[image, category][:, None].to(inputs.dtype)
        losses = {}
        if self.loss_foreground is not None:
            losses['loss_foreground'] = self.loss_foreground(self.encoder.similarity(inputs[image] * masks), category,
                                                             present[image])
        if self.loss_background is not None:
            losses['loss_background'] = self.loss_background(self.encoder.similarity(inputs[image] * (1 - masks)),
                                                             category, present[image])
        if self.loss_regularization is not None:
            losses['loss_regularization'] = self.loss_regularization(activations, present)
        if self.loss_consistency is not None:
            transform = self.view.sample(len(inputs), tuple(inputs.shape[-2:]))
            losses['loss_consistency'] = self.loss_consistency(transform(activations),
                                                               self.activations(transform(inputs)), present)
        return losses
