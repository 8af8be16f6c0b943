import json
from pathlib import Path

import pytest
import torch
from original_weights import irnet_cam_weights

from mmwsss.converters import SOURCES, convert
from mmwsss.utils.errors import UserError

ORACLES = Path(__file__).parents[2] / '../shared/oracles'
IRNET_CAM = SOURCES['irnet_cam']
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
