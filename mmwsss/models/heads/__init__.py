"""Heads: feature maps to class activation maps, or to scores of classes."""
from mmwsss.models.heads.activation_head import ActivationHead
from mmwsss.models.heads.cam_head import CAMHead
from mmwsss.models.heads.deeplab_largefov_head import DeepLabLargeFOVHead
from mmwsss.models.heads.deeplab_v2_head import DeepLabV2Head
from mmwsss.models.heads.single_label_cam_head import SingleLabelCAMHead
from mmwsss.models.heads.text_cam_head import TextCAMHead

__all__ = [
    'ActivationHead', 'CAMHead', 'DeepLabLargeFOVHead', 'DeepLabV2Head', 'SingleLabelCAMHead', 'TextCAMHead'
]
