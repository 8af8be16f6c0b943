"""Whole models that are trained with image-level labels."""
from mmwsss.models.classifiers.base_cam_model import BaseCAMModel
from mmwsss.models.classifiers.cam_classifier import CAMClassifier
from mmwsss.models.classifiers.seam import SEAM

__all__ = ['SEAM', 'BaseCAMModel', 'CAMClassifier']
