"""Models. Importing the package registers ours and those of mmsegmentation."""
# ruff: noqa: E402
from mmwsss.utils.quiet_imports import import_quietly

import_quietly('mmseg.models')  # fills the parent registry, which Registry.get does not

from mmwsss.models.affinity import (
    AffinityHead,
    AffinityLoss,
    AffinityNet,
    BaseAffinityModel,
    DisplacementHead,
    DisplacementLoss,
    EdgeHead,
    IRNet,
    RandomWalk,
)
from mmwsss.models.backbones import VGG16, EfficientNetLite, HFBackbone, InceptionV3, ResNet38, ResNetWithStem
from mmwsss.models.classifiers import (
    SEAM,
    SLAM,
    BaseCAMModel,
    CAMClassifier,
    LocalizationClassifier,
    MCTformer,
    PixelSelfSupervision,
    SemanticEncoder,
)
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.heads import ActivationHead, CAMHead, SingleLabelCAMHead, TextCAMHead
from mmwsss.models.losses import (
    MAM,
    RCM,
    ECRLoss,
    ERLoss,
    MinPoolingLoss,
    RestrictedActivationLoss,
    SaliencyConflictLoss,
)
from mmwsss.models.necks import PCM, ConvStack, FeatureProjection
from mmwsss.models.segmentors import SaliencyEncoderDecoder

__all__ = [
    'MAM', 'PCM', 'RCM', 'SEAM', 'SLAM', 'VGG16', 'ActivationHead', 'AffinityHead', 'AffinityLoss', 'AffinityNet',
    'BaseAffinityModel', 'BaseCAMModel', 'CAMClassifier', 'CAMHead', 'ConvStack', 'DisplacementHead',
    'DisplacementLoss', 'ECRLoss', 'ERLoss', 'EdgeHead', 'EfficientNetLite', 'FeatureProjection', 'HFBackbone', 'IRNet',
    'InceptionV3', 'LocalizationClassifier', 'MCTformer', 'MinPoolingLoss', 'PixelSelfSupervision', 'RandomWalk',
    'ResNet38', 'ResNetWithStem', 'RestrictedActivationLoss', 'SaliencyConflictLoss', 'SaliencyEncoderDecoder',
    'SemanticEncoder', 'SingleLabelCAMHead', 'TextCAMHead', 'WSSSDataPreProcessor'
]
