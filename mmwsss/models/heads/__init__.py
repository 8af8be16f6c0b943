"""Heads: feature maps to class activation maps, to what says which pixels belong together, or to scores of classes."""
from mmwsss.models.heads.activation_head import ActivationHead
from mmwsss.models.heads.affinity_head import AffinityHead
from mmwsss.models.heads.cam_head import CAMHead
from mmwsss.models.heads.deeplab_largefov_head import DeepLabLargeFOVHead
from mmwsss.models.heads.deeplab_v2_head import DeepLabV2Head
from mmwsss.models.heads.displacement_head import DisplacementHead
from mmwsss.models.heads.edge_head import EdgeHead

__all__ = ['ActivationHead', 'AffinityHead', 'CAMHead', 'DeepLabLargeFOVHead', 'DeepLabV2Head', 'DisplacementHead',
           'EdgeHead']
