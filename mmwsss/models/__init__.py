"""Models. Importing the package registers ours and those of mmsegmentation."""
# ruff: noqa: E402
from mmwsss.utils.quiet_imports import import_quietly

import_quietly('mmseg.models')  # fills the parent registry, which Registry.get does not

from mmwsss.models.backbones import EfficientNetLite, ResNet38, ResNetWithStem
from mmwsss.models.classifiers import (
    SEAM,
    SLAM,
    AffinityNet,
    BaseAffinityModel,
    BaseCAMModel,
    CAMClassifier,
    IRNet,
    PixelSelfSupervision,
    SemanticEncoder,
)
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.heads import ActivationHead, AffinityHead, CAMHead, DisplacementHead, EdgeHead
from mmwsss.models.losses import AffinityLoss, DisplacementLoss, ECRLoss, ERLoss, MinPoolingLoss, SaliencyConflictLoss
from mmwsss.models.necks import MAM, PCM, RCM, FeatureProjection
from mmwsss.models.segmentors import SaliencyEncoderDecoder

__all__ = ['MAM', 'PCM', 'RCM', 'SEAM', 'SLAM', 'ActivationHead', 'AffinityHead', 'AffinityLoss', 'AffinityNet',
           'BaseAffinityModel', 'BaseCAMModel', 'CAMClassifier', 'CAMHead', 'DisplacementHead', 'DisplacementLoss',
           'ECRLoss', 'ERLoss', 'EdgeHead', 'EfficientNetLite', 'FeatureProjection', 'IRNet', 'MinPoolingLoss',
           'PixelSelfSupervision', 'ResNet38', 'ResNetWithStem', 'SaliencyConflictLoss', 'SaliencyEncoderDecoder',
           'SemanticEncoder', 'WSSSDataPreProcessor']
