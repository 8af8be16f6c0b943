"""Checkpoints with the wide ResNet38: of SEAM's and PSA's repositories, and ImageNet's for MXNet.

SEAM: https://github.com/YudeWang/SEAM. PSA, which has AffinityNet: https://github.com/jiwoon-ahn/psa.
"""
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mmwsss.converters.conversion import Source
from mmwsss.converters.mxnet_params import read_mxnet_params
from mmwsss.models.affinity.affinity_net import AffinityNet
from mmwsss.models.backbones.resnet38 import ResNet38
from mmwsss.models.classifiers import SEAM
from mmwsss.registry import MODELS

_CLASSIFIER = 'cam_head.conv_cam.weight'
_PCM = {'pcm.reduce.0.weight': 'f8_3.weight', 'pcm.reduce.1.weight': 'f8_4.weight', 'pcm.theta.weight': 'f9.weight'}
_AFFINITY_HEAD = {'affinity_head.reduce.0.weight': 'f8_3.weight', 'affinity_head.reduce.1.weight': 'f8_4.weight',
                  'affinity_head.reduce.2.weight': 'f8_5.weight', 'affinity_head.embed.weight': 'f9.weight'}
_MXNET_NORM = dict(weight='arg:{}_gamma', bias='arg:{}_beta', running_mean='aux:{}_moving_mean',
                   running_var='aux:{}_moving_var')
_IMAGENET = 'classifier of the ImageNet classes'


def _classifier(width: int, num_classes: int) -> dict:
    return dict(type='CAMClassifier', backbone=dict(type='ResNet38', base_channels=width),
                cam_head=dict(type='CAMHead', in_channels=64 * width, num_classes=num_classes))


def _build_psa(num_rows: Callable[[str], int]) -> nn.Module:
    return MODELS.build(_classifier(num_rows('conv1a.weight'), num_rows('fc8.weight')))


def _psa_key(key: str) -> str:
    return 'fc8.weight' if key == _CLASSIFIER else key.removeprefix('backbone.')


def _build_seam(num_rows: Callable[[str], int]) -> nn.Module:
    width = num_rows('conv1a.weight')
    return SEAM(_classifier(width, num_rows('fc8.weight')), loss_ecr=dict(type='ECRLoss'), pcm=dict(
        type='PCM', in_channels=(8 * width, 16 * width), channels=num_rows('f9.weight'),
        reduced_channels=(num_rows('f8_3.weight'), num_rows('f8_4.weight'))))


def _seam_key(key: str) -> str:
    return _PCM.get(key) or _psa_key(key.removeprefix('classifier.'))


def _build_affinity_net(num_rows: Callable[[str], int]) -> nn.Module:
    width = num_rows('conv1a.weight')
    return AffinityNet(
        backbone=dict(type='ResNet38', base_channels=width),
        affinity_head=dict(type='AffinityHead', in_channels=(8 * width, 16 * width, 64 * width),
                           reduced_channels=[num_rows(f'{layer}.weight') for layer in ('f8_3', 'f8_4', 'f8_5')],
                           channels=num_rows('f9.weight')),
        loss_affinity=dict(type='AffinityLoss'), random_walk=dict(type='RandomWalk'))


def _affinity_net_key(key: str) -> str:
    return _AFFINITY_HEAD.get(key) or _psa_key(key)


def _build_backbone(num_rows: Callable[[str], int]) -> nn.Module:
    return ResNet38(base_channels=num_rows('arg:conv1a_weight'))


def _mxnet_key(key: str) -> str:
    """Returns MXNet's name, e.g. ``arg:bn4b3_branch2a_beta`` for ``b4_3.bn_branch2a.bias``."""
    module, _, parameter = key.rpartition('.')
    match = re.fullmatch(r'b(\d)(?:_(\d))?\.(conv|bn)_(branch\w+)', module)
    if match:  # all but conv1a and bn7
        stage, block, kind, branch = match.groups()
        module = f'{"res" if kind == "conv" else kind}{stage}{f"b{block}" if block else "a"}_{branch}'
    if not module.startswith('bn'):
        return f'arg:{module}_weight'
    return _MXNET_NORM.get(parameter, f'{{}}_{parameter}').format(module)


def _load_mxnet(path: Path) -> dict[str, Tensor]:
    return {key: torch.from_numpy(array) for key, array in read_mxnet_params(path).items()}


PSA_SOURCE = Source("PSA's classifier", _build_psa, _psa_key)
"""ResNet38 and classifier: a ``CAMClassifier``."""

SEAM_SOURCE = Source("SEAM's network", _build_seam, _seam_key, left_out_rows={
    'fc8.weight': (1, 'channel 0, the background, is overwritten before it is used')})
"""ResNet38, classifier and PCM: a ``SEAM``."""

AFFINITYNET_SOURCE = Source('AffinityNet, of PSA or SEAM', _build_affinity_net, _affinity_net_key)
"""ResNet38 and the convolutions of the embedding: an ``AffinityNet``."""

RESNET38_MXNET_SOURCE = Source(
    "MXNet's ResNet38 of ImageNet", _build_backbone, _mxnet_key, load=_load_mxnet,
    left_out={'arg:linear1000_weight': _IMAGENET, 'arg:linear1000_bias': _IMAGENET})
"""A ``ResNet38`` alone."""
