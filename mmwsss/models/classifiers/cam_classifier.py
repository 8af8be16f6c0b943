"""A multi-label classifier whose class maps are its class activation maps."""
from collections.abc import Sequence

from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.classifiers.base_cam_model import BaseCAMModel, stack_labels
from mmwsss.registry import MODELS
from mmwsss.structures import FeatureMaps


@MODELS.register_module()
class CAMClassifier(BaseCAMModel):
    """Backbone, neck and CAM head, trained with image-level labels.

    Args:
        backbone: Config of the backbone; returns a tuple of feature maps.
        cam_head: Config of the CAM head.
        neck: Config of a neck between the two, optional.
        inference_hooks: Configs of the inference hooks, outermost first.
        **kwargs: See :class:`BaseCAMModel`.
    """

    def __init__(self, backbone: dict, cam_head: dict, neck: dict | None = None,
                 inference_hooks: Sequence[dict] = (), **kwargs: object) -> None:
        super().__init__(inference_hooks=inference_hooks, **kwargs)
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.cam_head = MODELS.build(cam_head)

    @property
    def num_classes(self) -> int:
        """Number of foreground classes C."""
        return self.cam_head.num_classes

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the feature maps of the backbone, passed through the neck where there is one."""
        feats = self.backbone(inputs)
        if not self.with_neck:
            return feats
        result = self.neck(feats)
        if isinstance(feats, FeatureMaps):  # a neck knows nothing of tokens and attention
            return FeatureMaps(result, feats.tokens, feats.attentions)
        return result

    def forward_maps(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See :meth:`BaseCAMModel.forward_maps`."""
        feats = self.extract_feat(inputs)
        return self.cam_head(feats), feats

    def pool(self, maps: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.pool`."""
        return self.cam_head.pool(maps)

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.loss_by_maps`."""
        return self.cam_head.loss_by_maps(maps, labels)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the classification loss from ``gt_img_label`` of the data samples."""
        labels = stack_labels(data_samples).to(inputs.device)
        return self.cam_head.loss(self.extract_feat(inputs), labels)
