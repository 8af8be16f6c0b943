"""Models. Importing the package registers ours and those of mmsegmentation."""
import mmseg.models  # noqa: F401  (fills the parent registry, which ours falls back on)

from mmwsss.models.backbones import EfficientNetLite, ResNet38
from mmwsss.models.classifiers import CAMClassifier
from mmwsss.models.data_preprocessor import WSSSDataPreProcessor
from mmwsss.models.heads import CAMHead

__all__ = ['CAMClassifier', 'CAMHead', 'EfficientNetLite', 'ResNet38', 'WSSSDataPreProcessor']
