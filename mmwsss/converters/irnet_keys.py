"""Checkpoints of IRNet's repository (https://github.com/jiwoon-ahn/irn)."""
import re
from collections.abc import Callable

from torch import nn

from mmwsss.converters.conversion import Source
from mmwsss.models.classifiers import CAMClassifier

_CLASSIFIER = 'cam_head.conv_cam.weight'
# The original registers its modules again: in stage1 ... stage4, and in two lists.
_PLACES = ((r'newly_added\.0\.', 'classifier.'),
           (r'stage1\.0\.', 'resnet50.conv1.'),
           (r'stage1\.1\.', 'resnet50.bn1.'),
           (r'stage1\.4\.', 'resnet50.layer1.'),
           (r'stage([234])\.0\.', r'resnet50.layer\1.'))


def _build(num_rows: Callable[[str], int]) -> nn.Module:
    width = num_rows('resnet50.conv1.weight')
    return CAMClassifier(
        backbone=dict(type='ResNet', depth=50, style='pytorch', stem_channels=width, base_channels=width),
        cam_head=dict(type='CAMHead', in_channels=32 * width, num_classes=num_rows('classifier.weight')))


def _key_of(key: str) -> str:
    return 'classifier.weight' if key == _CLASSIFIER else f'resnet50.{key.removeprefix("backbone.")}'


def _canonical(key: str) -> str:
    key = re.sub(r'^backbone\.([0-3])\.', lambda match: f'stage{int(match[1]) + 1}.', key)
    for place, canonical in _PLACES:
        key = re.sub(f'^{place}', canonical, key)
    return key


IRNET_CAM_SOURCE = Source("IRNet's CAM network", _build, _key_of, _canonical)
"""ResNet50 with the stride in the 3x3 convolution, and classifier: a ``CAMClassifier``."""
