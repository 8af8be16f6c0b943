"""Heads: feature maps to class activation maps."""
from mmwsss.models.heads.cam_head import CAMHead

__all__ = ['CAMHead']
