"""Backbones that mmsegmentation does not have."""
from mmwsss.models.backbones.base_backbone import StagedBackbone
from mmwsss.models.backbones.cached_backbone import CachedBackbone
from mmwsss.models.backbones.efficientnet_lite import EfficientNetLite
from mmwsss.models.backbones.hf_backbone import HFBackbone
from mmwsss.models.backbones.inception_v3 import InceptionV3
from mmwsss.models.backbones.onnx_dinov2 import OnnxDinov2
from mmwsss.models.backbones.resnet38 import ResNet38
from mmwsss.models.backbones.resnet_with_stem import ResNetWithStem
from mmwsss.models.backbones.vgg16 import VGG16

__all__ = ['VGG16', 'CachedBackbone', 'EfficientNetLite', 'HFBackbone', 'InceptionV3', 'OnnxDinov2', 'ResNet38',
           'ResNetWithStem', 'StagedBackbone']
