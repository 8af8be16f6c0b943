"""MCTformer: a class token for every class, whose attention says where the class is."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.models.classifiers.base_cam_model import BaseCAMModel, name_feats, stack_labels
from mmwsss.models.heads.cam_head import classification_loss
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionMaps, CAMOutput, FeatureMaps
from mmwsss.utils.errors import UserError

MAPS = ('both', 'token', 'patch')


def class_token_maps(attentions: AttentionMaps, num_classes: int) -> Tensor:
    """Computes what the class tokens look at: the mean of their attention to the patches over the blocks.

    Args:
        attentions: Of blocks whose first special tokens are the class tokens.
        num_classes: C.

    Returns:
        N x C x h x w, non-negative; a map sums up to at most one.
    """
    return torch.stack(attentions.special_to_patch()).mean(dim=0)[:, :num_classes]


@MODELS.register_module()
class MCTformer(BaseCAMModel):
    """A transformer with C class tokens, and a CAM head on its patches.

    `Multi-class Token Transformer for Weakly Supervised Semantic Segmentation <https://arxiv.org/abs/2203.02891>`_
    (CVPR 2022), version 2. The score of a class token is the mean of its channels, that of the patches the mean of the
    class map; both are trained with the label (section 3.3). The CAM is the attention of the class tokens to the
    patches, averaged over the last blocks and the heads, times the rectified class map. Its refinement along the
    attention among the patches (section 3.4) is the hook :class:`mmwsss.inference.AttentionRefinement`, which uses the
    same blocks unless told otherwise.

    The paper's CAM head is a 3x3 convolution; any head will do. Class tokens begin as the pretrained class token, and
    its position, with small random differences.

    Args:
        backbone: Config of a :class:`mmwsss.models.HFBackbone` of a ViT, DeiT, DINO or CLIP. Where it does not say
            otherwise, ``attention_blocks`` is 3, and ``final_norm`` is off, as the mean over the channels is nearly the
            same for all tokens after a LayerNorm. ``num_class_tokens`` is set.
        cam_head: Config of the CAM head.
        maps: What the CAM is made of: ``'both'``, the attention of the class tokens (``'token'``) or the class maps
            (``'patch'``) alone.
        token_weight: Weight of the class tokens' loss.
        inference_hooks: Configs of the inference hooks, outermost first.
        **kwargs: See :class:`BaseCAMModel`.

    Raises:
        UserError: If the backbone has no class token.
        ValueError: For unknown ``maps``.
    """

    def __init__(self, backbone: dict, cam_head: dict, maps: str = 'both', token_weight: float = 1.0,
                 inference_hooks: Sequence[dict] = (), **kwargs: object) -> None:
        super().__init__(inference_hooks=inference_hooks, **kwargs)
        if maps not in MAPS:
            raise ValueError(f'MCTformer: maps is one of {MAPS}, got {maps!r}')
        self.maps, self.token_weight = maps, token_weight
        self.cam_head = MODELS.build(cam_head)
        settings = {'attention_blocks': 3, 'final_norm': False, **backbone, 'num_class_tokens': self.num_classes}
        self.backbone = MODELS.build(settings)

    @property
    def num_classes(self) -> int:
        """Number of foreground classes C."""
        return self.cam_head.num_classes

    def forward_maps(self, inputs: Tensor) -> tuple[Tensor, FeatureMaps]:
        """See :meth:`BaseCAMModel.forward_maps`; the maps are those of the patches.

        Raises:
            UserError: If the backbone gives no class tokens or no attention.
        """
        feats = self.backbone(inputs)
        if getattr(feats, 'tokens', None) is None or feats.attentions is None:
            raise UserError('MCTformer: the backbone gives no class tokens or no attention; use HFBackbone of a ViT '
                            'with attention_blocks')
        return self.cam_head(feats), feats

    def pool(self, maps: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.pool`; the scores of the patches."""
        return self.cam_head.pool(maps)

    def loss_by_maps(self, maps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`BaseCAMModel.loss_by_maps`."""
        return self.cam_head.loss_by_maps(maps, labels)

    def token_scores(self, feats: FeatureMaps) -> Tensor:
        """Returns the scores of the class tokens before the sigmoid, N x C float32: the means of their channels."""
        return feats.tokens[:, :self.num_classes].float().mean(dim=-1)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses from ``gt_img_label``: ``loss_cls`` of the patches and ``loss_token``."""
        labels = stack_labels(data_samples).to(inputs.device)
        maps, feats = self.forward_maps(inputs)
        return dict(loss_cls=self.loss_by_maps(maps, labels),
                    loss_token=self.token_weight * classification_loss(self.token_scores(feats), labels))

    def compute_cam(self, inputs: Tensor, labels: Tensor | None = None) -> CAMOutput:
        """The model's own CAM function.

        Args:
            inputs: N x 3 x H x W normalised images.
            labels: Not used: the maps of all classes are returned.

        Returns:
            See :meth:`BaseCAMModel.compute_cam`; the scores are the mean of those of patches and class tokens.
        """
        maps, feats = self.forward_maps(inputs)
        cam = F.relu(maps.float())
        if self.maps != 'patch':
            looks = class_token_maps(feats.attentions, self.num_classes)
            cam = looks if self.maps == 'token' else looks * cam
        return CAMOutput(cam=cam, logits=(self.pool(maps).float() + self.token_scores(feats)) / 2,
                         feats=name_feats(feats), attentions=feats.attentions)
