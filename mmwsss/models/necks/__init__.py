"""Necks: modules between features and maps."""
from mmwsss.models.necks.feature_projection import FeatureProjection
from mmwsss.models.necks.pcm import PCM

__all__ = ['PCM', 'FeatureProjection']
