import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from original_weights import irnet_cam_weights, irnet_weights

from mmwsss.converters import SOURCES, convert
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

ROOT = Path(__file__).parents[2]
ORACLES = ROOT / '../shared/oracles'
IRNET_CAM, IRNET = SOURCES['irnet_cam'], SOURCES['irnet']
FILE = Path('irn.pth')


@pytest.fixture(scope='module')
def made():
    return irnet_cam_weights()


@pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
def test_every_key_of_the_original():
    keys = json.loads((ORACLES / 'keys.json').read_text())['irn_cam']
    arrays = {key: torch.empty(entry['shape'], dtype=torch.int64 if key.endswith('tracked') else torch.float32)
              for key, entry in keys.items() if entry['canonical'] == key}
    conversion = convert(IRNET_CAM, {key: arrays[entry['canonical']] for key, entry in keys.items()}, FILE)
    assert len(conversion.mapped) == 319 and len(conversion.aliases) == 637 and not conversion.left_out
    assert conversion.aliases == {key: entry['canonical'] for key, entry in keys.items() if entry['canonical'] != key}
    assert conversion.num_classes == 20 and not conversion.zeros


@pytest.mark.parametrize('alias, canonical', [
    ('stage1.0.weight', 'resnet50.conv1.weight'),
    ('stage1.1.running_mean', 'resnet50.bn1.running_mean'),
    ('backbone.0.4.2.bn3.bias', 'resnet50.layer1.2.bn3.bias'),
    ('stage2.0.0.downsample.0.weight', 'resnet50.layer2.0.downsample.0.weight'),
    ('backbone.3.0.2.conv3.weight', 'resnet50.layer4.2.conv3.weight'),
    ('newly_added.0.weight', 'classifier.weight')])
def test_alias_with_other_values(made, alias, canonical):
    weights = dict(made)
    assert weights[alias] is weights[canonical]
    weights[alias] = weights[alias].clone()
    assert convert(IRNET_CAM, weights, FILE).aliases[alias] == canonical
    weights[alias][-1] += 1e-6
    with pytest.raises(UserError, match=f'irn.pth: 1 key with other values .*{alias}: {canonical}'):
        convert(IRNET_CAM, weights, FILE)


@pytest.mark.parametrize('key', ['stage5.0.0.conv1.weight', 'backbone.4.0.2.conv3.weight', 'stage1.2.weight',
                                 'xstage1.0.weight', 'newly_added.1.weight', 'resnet50.fc.weight'])
def test_what_only_looks_like_an_alias(made, key):
    with pytest.raises(UserError, match=f'irn.pth: 1 key unexpected .{key}.'):
        convert(IRNET_CAM, {**made, key: torch.ones(3)}, FILE)


@pytest.fixture(scope='module')
def made_irnet():
    return irnet_weights()


@pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
def test_every_key_of_the_network_of_edges_and_of_the_config(made_irnet):
    keys = json.loads((ORACLES / 'keys.json').read_text())['irn_edge']
    arrays = {key: torch.empty(entry['shape'], dtype=torch.int64 if key.endswith('tracked') else torch.float32)
              for key, entry in keys.items() if entry['canonical'] == key}
    conversion = convert(IRNET, {key: arrays[entry['canonical']] for key, entry in keys.items()}, FILE)
    assert len(conversion.mapped) == 358 and len(conversion.aliases) == 677 and not conversion.left_out
    assert conversion.aliases == {key: entry['canonical'] for key, entry in keys.items() if entry['canonical'] != key}
    assert not conversion.zeros and conversion.num_classes is None
    with torch.device('meta'):
        expected = MODELS.build(Config.fromfile(ROOT / 'configs/_base_/models/irnet_resnet50.py').model).state_dict()
    assert {key: value.shape for key, value in conversion.state_dict.items()} == {
        key: value.shape for key, value in expected.items()}
    assert made_irnet.keys() == keys.keys()  # what the other tests convert


@pytest.mark.parametrize('theirs, ours', [
    ('resnet50.layer4.2.conv3.weight', 'backbone.layer4.2.conv3.weight'),
    ('fc_edge1.0.weight', 'edge_head.branches.0.0.weight'), ('fc_edge5.1.bias', 'edge_head.branches.4.1.bias'),
    ('fc_edge6.bias', 'edge_head.conv_edge.bias'), ('fc_dp3.0.weight', 'displacement_head.branches.2.0.weight'),
    ('fc_dp6.1.weight', 'displacement_head.join_coarse.1.weight'),
    ('fc_dp7.0.weight', 'displacement_head.join_fine.0.weight'),
    ('fc_dp7.3.weight', 'displacement_head.conv_displacement.weight'),
    ('mean_shift.running_mean', 'displacement_head.mean_displacement')])
def test_names_of_edges_and_displacements(made_irnet, theirs, ours):
    conversion = convert(IRNET, made_irnet, FILE)
    assert conversion.mapped[theirs] == ours and torch.equal(conversion.state_dict[ours], made_irnet[theirs])


@pytest.mark.parametrize('alias, canonical', [
    ('stage1.1.running_mean', 'resnet50.bn1.running_mean'),
    ('stage2.0.0.conv1.weight', 'resnet50.layer1.0.conv1.weight'),
    ('backbone.0.0.weight', 'resnet50.conv1.weight'), ('backbone.4.0.2.bn3.bias', 'resnet50.layer4.2.bn3.bias'),
    ('edge_layers.5.bias', 'fc_edge6.bias'), ('dp_layers.6.3.weight', 'fc_dp7.3.weight'),
    ('fc_dp7.4.running_mean', 'mean_shift.running_mean'), ('dp_layers.6.4.running_mean', 'mean_shift.running_mean')])
def test_alias_in_the_network_of_edges_with_other_values(made_irnet, alias, canonical):
    weights = dict(made_irnet)
    assert weights[alias] is weights[canonical]
    weights[alias] = weights[alias] + 1e-6
    with pytest.raises(UserError, match=f'irn.pth: 1 key with other values .*{alias}: {canonical}'):
        convert(IRNET, weights, FILE)


@pytest.mark.parametrize('key', ['stage6.0.0.conv1.weight', 'stage1.4.0.conv1.weight', 'backbone.5.0.weight',
                                 'edge_layers.6.weight', 'dp_layers.7.0.weight', 'fc_dp8.0.weight',
                                 'classifier.weight'])
def test_what_only_looks_like_an_alias_of_the_network_of_edges(made_irnet, key):
    with pytest.raises(UserError, match=f'irn.pth: 1 key unexpected .{key}.'):
        convert(IRNET, {**made_irnet, key: torch.ones(3)}, FILE)
