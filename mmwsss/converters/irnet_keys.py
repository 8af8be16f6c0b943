"""Checkpoints of IRNet's repository (https://github.com/jiwoon-ahn/irn)."""
import re
from collections.abc import Callable, Iterable

from torch import nn

from mmwsss.converters.conversion import Source
from mmwsss.models.affinity.irnet import IRNet
from mmwsss.models.classifiers import CAMClassifier

_CLASSIFIER = 'cam_head.conv_cam.weight'
# The original registers its modules again: in stage1 ... stage4, and in two lists.
_PLACES = ((r'newly_added\.0\.', 'classifier.'),
           (r'stage1\.0\.', 'resnet50.conv1.'),
           (r'stage1\.1\.', 'resnet50.bn1.'),
           (r'stage1\.4\.', 'resnet50.layer1.'),
           (r'stage([234])\.0\.', r'resnet50.layer\1.'))
# The same in the network of edges and displacements, where the stem alone is the first stage.
_EDGE_PLACES = ((r'backbone\.0\.', 'stage1.'),
                (r'backbone\.([1-4])\.', lambda match: f'stage{int(match[1]) + 1}.'),
                (r'stage1\.0\.', 'resnet50.conv1.'),
                (r'stage1\.1\.', 'resnet50.bn1.'),
                (r'stage([2-5])\.0\.', lambda match: f'resnet50.layer{int(match[1]) - 1}.'),
                (r'edge_layers\.([0-5])\.', lambda match: f'fc_edge{int(match[1]) + 1}.'),
                (r'dp_layers\.([0-6])\.', lambda match: f'fc_dp{int(match[1]) + 1}.'),
                (r'fc_dp7\.4\.', 'mean_shift.'))
_EDGE_KEYS = ((r'edge_head\.branches\.([0-4])\.', lambda match: f'fc_edge{int(match[1]) + 1}.'),
              (r'edge_head\.conv_edge\.', 'fc_edge6.'),
              (r'displacement_head\.branches\.([0-4])\.', lambda match: f'fc_dp{int(match[1]) + 1}.'),
              (r'displacement_head\.join_coarse\.', 'fc_dp6.'),
              (r'displacement_head\.join_fine\.', 'fc_dp7.'),
              (r'displacement_head\.conv_displacement\.', 'fc_dp7.3.'),
              (r'displacement_head\.mean_displacement', 'mean_shift.running_mean'),
              (r'backbone\.', 'resnet50.'))


def _build(num_rows: Callable[[str], int]) -> nn.Module:
    width = num_rows('resnet50.conv1.weight')
    return CAMClassifier(
        backbone=dict(type='ResNet', depth=50, style='pytorch', stem_channels=width, base_channels=width),
        cam_head=dict(type='CAMHead', in_channels=32 * width, num_classes=num_rows('classifier.weight')))


def _key_of(key: str) -> str:
    return 'classifier.weight' if key == _CLASSIFIER else f'resnet50.{key.removeprefix("backbone.")}'


def _canonical(key: str) -> str:
    key = re.sub(r'^backbone\.([0-3])\.', lambda match: f'stage{int(match[1]) + 1}.', key)
    return _replace(key, _PLACES)


def _build_irnet(num_rows: Callable[[str], int]) -> nn.Module:
    width = num_rows('resnet50.conv1.weight')
    in_channels = [width * factor for factor in (1, 4, 8, 16, 32)]
    return IRNet(
        backbone=dict(type='ResNetWithStem', depth=50, style='pytorch', stem_channels=width, base_channels=width),
        edge_head=dict(type='EdgeHead', in_channels=in_channels),
        displacement_head=dict(type='DisplacementHead', in_channels=in_channels),
        loss_affinity=dict(type='AffinityLoss'), loss_displacement=dict(type='DisplacementLoss'),
        random_walk=dict(type='RandomWalk'))


def _irnet_key(key: str) -> str:
    return _replace(key, _EDGE_KEYS)


def _canonical_irnet(key: str) -> str:
    return _replace(key, _EDGE_PLACES)


def _replace(key: str, places: Iterable[tuple[str, str | Callable[[re.Match], str]]]) -> str:
    for place, other in places:
        key = re.sub(f'^{place}', other, key)
    return key


IRNET_CAM_SOURCE = Source("IRNet's CAM network", _build, _key_of, _canonical)
"""ResNet50 with the stride in the 3x3 convolution, and classifier: a ``CAMClassifier``."""

IRNET_SOURCE = Source("IRNet's network of edges and displacements", _build_irnet, _irnet_key, _canonical_irnet)
"""ResNet50 with the stride in the 3x3 convolution, and both branches: an ``IRNet``."""
