"""Necks: modules between features and maps."""
from mmwsss.models.necks.feature_projection import FeatureProjection
from mmwsss.models.necks.mam import MAM
from mmwsss.models.necks.pcm import PCM
from mmwsss.models.necks.rcm import RCM

__all__ = ['MAM', 'PCM', 'RCM', 'FeatureProjection']
