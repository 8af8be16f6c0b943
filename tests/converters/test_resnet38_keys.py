import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from original_weights import affinity_net_weights, mxnet_file, mxnet_names, mxnet_weights, psa_weights, seam_weights

from mmwsss.config.config import fill_num_classes
from mmwsss.converters import SOURCES, convert
from mmwsss.models.backbones.resnet38 import ResNet38
from mmwsss.registry import MODELS

ROOT = Path(__file__).parents[2]
ORACLES = ROOT / '../shared/oracles'
FILE = Path('original.pth')


def shapes(state_dict):
    return {key: tuple(value.shape) for key, value in state_dict.items()}


@pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
@pytest.mark.parametrize('source, name, config', [
    ('psa', 'psa_cls', 'cam_resnet38.py'), ('seam', 'seam', 'seam_resnet38.py'),
    ('affinitynet', 'seam_aff', 'affinitynet_resnet38.py')])
def test_every_key_of_the_original_and_of_the_config(source, name, config):
    keys = json.loads((ORACLES / 'keys.json').read_text())[name]
    weights = {key: torch.empty(entry['shape'], dtype=torch.int64 if key.endswith('tracked') else torch.float32)
               for key, entry in keys.items()}
    conversion = convert(SOURCES[source], weights, FILE)
    assert conversion.mapped.keys() == keys.keys() and not conversion.aliases and not conversion.left_out
    assert not conversion.zeros
    model = Config.fromfile(ROOT / 'configs/_base_/models' / config).model
    fill_num_classes(model, 20)
    with torch.device('meta'):
        expected = MODELS.build(model).state_dict()
    assert shapes(conversion.state_dict) == shapes(expected)


@pytest.fixture(scope='module')
def from_mxnet():
    return convert(SOURCES['resnet38_mxnet'], mxnet_weights(), FILE)


def test_psa():
    weights = psa_weights(num_classes=5)
    state_dict = convert(SOURCES['psa'], weights, FILE).state_dict
    assert torch.equal(state_dict['backbone.b5.conv_branch1.weight'], weights['b5.conv_branch1.weight'])
    assert torch.equal(state_dict['cam_head.conv_cam.weight'], weights['fc8.weight'])


def test_seam():
    weights = seam_weights(num_classes=5)
    conversion = convert(SOURCES['seam'], weights, FILE)
    ours = conversion.state_dict
    assert torch.equal(ours['classifier.backbone.b7.bn_branch2b2.bias'], weights['b7.bn_branch2b2.bias'])
    assert torch.equal(ours['classifier.cam_head.conv_cam.weight'], weights['fc8.weight'][1:])
    assert torch.equal(ours['pcm.reduce.0.weight'], weights['f8_3.weight'])
    assert torch.equal(ours['pcm.reduce.1.weight'], weights['f8_4.weight'])
    assert torch.equal(ours['pcm.theta.weight'], weights['f9.weight'])
    assert list(conversion.left_out_rows) == ['fc8.weight'] and conversion.num_classes == 5


def test_affinity_net():
    weights = affinity_net_weights()
    conversion = convert(SOURCES['affinitynet'], weights, FILE)
    ours = conversion.state_dict
    assert torch.equal(ours['backbone.b7.bn_branch2b2.bias'], weights['b7.bn_branch2b2.bias'])
    for i, layer in enumerate(('f8_3', 'f8_4', 'f8_5')):
        assert torch.equal(ours[f'affinity_head.reduce.{i}.weight'], weights[f'{layer}.weight'])
    assert torch.equal(ours['affinity_head.embed.weight'], weights['f9.weight'])
    assert not conversion.left_out and conversion.num_classes is None


@pytest.mark.parametrize('theirs, ours', [
    ('arg:conv1a_weight', 'conv1a.weight'),
    ('arg:res2a_branch1_weight', 'b2.conv_branch1.weight'),
    ('arg:res4b3_branch2a_weight', 'b4_3.conv_branch2a.weight'),
    ('arg:res7a_branch2b2_weight', 'b7.conv_branch2b2.weight'),
    ('arg:bn2a_branch2a_gamma', 'b2.bn_branch2a.weight'),
    ('arg:bn5b2_branch2b1_beta', 'b5_2.bn_branch2b1.bias'),
    ('aux:bn6a_branch2b2_moving_mean', 'b6.bn_branch2b2.running_mean'),
    ('aux:bn7_moving_var', 'bn7.running_var')])
def test_names_of_mxnet(from_mxnet, theirs, ours):
    assert mxnet_names()[ours] == theirs
    assert from_mxnet.mapped[theirs] == ours


def test_mxnet_file(tmp_path):
    path = tmp_path / 'resnet38.params'
    weights = mxnet_weights(width=2)
    path.write_bytes(mxnet_file(weights, version=1))
    source = SOURCES['resnet38_mxnet']
    conversion = convert(source, source.load(path), path)
    assert set(conversion.left_out) == {'arg:linear1000_weight', 'arg:linear1000_bias'}
    assert set(conversion.zeros) == {key for key in conversion.state_dict if key.endswith('num_batches_tracked')}
    model = ResNet38(base_channels=2)
    model.load_state_dict(conversion.state_dict)
    for ours, theirs in mxnet_names().items():
        assert torch.equal(model.state_dict()[ours], weights[theirs])
    torch.manual_seed(0)
    assert all(tap.isfinite().all() for tap in model.eval()(torch.rand(1, 3, 16, 16)))
