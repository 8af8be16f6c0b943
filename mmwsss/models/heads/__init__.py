"""Heads: feature maps to class activation maps, or to what says which pixels belong together."""
from mmwsss.models.heads.affinity_head import AffinityHead
from mmwsss.models.heads.cam_head import CAMHead
from mmwsss.models.heads.displacement_head import DisplacementHead
from mmwsss.models.heads.edge_head import EdgeHead

__all__ = ['AffinityHead', 'CAMHead', 'DisplacementHead', 'EdgeHead']
