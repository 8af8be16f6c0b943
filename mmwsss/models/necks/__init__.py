"""Necks: modules between features and maps."""
from mmwsss.models.necks.conv_stack import ConvStack
from mmwsss.models.necks.feature_projection import FeatureProjection
from mmwsss.models.necks.pcm import PCM

__all__ = ['PCM', 'ConvStack', 'FeatureProjection']
