"""Whole models that are trained with image-level labels."""
from mmwsss.models.classifiers.base_cam_model import BaseCAMModel
from mmwsss.models.classifiers.cam_classifier import CAMClassifier
from mmwsss.models.classifiers.localization_classifier import LocalizationClassifier
from mmwsss.models.classifiers.mctformer import MCTformer
from mmwsss.models.classifiers.pixel_self_supervision import PixelSelfSupervision
from mmwsss.models.classifiers.seam import SEAM
from mmwsss.models.classifiers.semantic_encoder import SemanticEncoder
from mmwsss.models.classifiers.slam import SLAM

__all__ = [
    'SEAM', 'SLAM', 'BaseCAMModel', 'CAMClassifier', 'LocalizationClassifier', 'MCTformer', 'PixelSelfSupervision',
    'SemanticEncoder'
]
