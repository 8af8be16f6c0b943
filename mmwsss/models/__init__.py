"""Models. Importing the package registers ours and those of mmsegmentation."""
# ruff: noqa: E402
from mmwsss.utils.quiet_imports import import_quietly

import_quietly('mmseg.models')  # fills the parent registry, which Registry.get does not

from mmwsss.models.backbones import EfficientNetLite, ResNet38
from mmwsss.models.classifiers import SEAM, BaseCAMModel, CAMClassifier
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.heads import CAMHead
from mmwsss.models.losses import ECRLoss, ERLoss, MinPoolingLoss
from mmwsss.models.necks import PCM

__all__ = ['PCM', 'SEAM', 'BaseCAMModel', 'CAMClassifier', 'CAMHead', 'ECRLoss', 'ERLoss', 'EfficientNetLite',
           'MinPoolingLoss', 'ResNet38', 'WSSSDataPreProcessor']
