"""Converted weights give the numbers of the original implementations, see ../shared/oracles/README.md."""
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from original_weights import array_by_formula

from mmwsss.config.config import fill_num_classes
from mmwsss.converters import SOURCES, convert
from mmwsss.engine.checkpoint import load_state_dict_strict
from mmwsss.registry import MODELS

ROOT = Path(__file__).parents[2]
ORACLES = ROOT / '../shared/oracles'
pytestmark = pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
# What tools/model_converters/README.md tells users of IRNet's checkpoint to set.
IRNET_OPTIONS = {'model.backbone.style': 'pytorch', 'model.data_preprocessor.bgr_to_rgb': True,
                 'model.data_preprocessor.mean': [123.675, 116.28, 103.53],
                 'model.data_preprocessor.std': [58.395, 57.12, 57.375]}


@pytest.fixture(scope='module')
def made():
    """The arrays made so far: PSA's and SEAM's network have 105 million values in common, which take seconds."""
    return {}


@pytest.fixture
def original(made):
    """Returns an original's state dict."""
    def array(place):
        key, shape = place
        if place in made:
            return made[place]
        return torch.zeros(shape, dtype=torch.int64) if key.endswith('tracked') else array_by_formula(key, shape)

    def make(name):
        entries = json.loads((ORACLES / 'keys.json').read_text())[name]
        places = [(entry['canonical'], tuple(entry['shape'])) for entry in entries.values()]
        with ThreadPoolExecutor(2) as pool:  # numpy lets other threads work meanwhile
            made.update(zip(dict.fromkeys(places), pool.map(array, dict.fromkeys(places))))
        return {key: made[place] for key, place in zip(entries, places)}

    return make


def converted_model(source, weights, config, options=None):
    cfg = Config.fromfile(ROOT / 'configs/_base_/models' / config)
    cfg.merge_from_dict(options or {})
    fill_num_classes(cfg.model, 20)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    model = model.to_empty(device='cpu')
    load_state_dict_strict(model, convert(SOURCES[source], weights, Path('original.pth')).state_dict, 'converted.pth')
    return model.eval()


def oracle(name):
    with np.load(ORACLES / f'{name}.npz', allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def agree(ours, theirs):
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs().max() / theirs.abs().max()
    print(f'relative difference {difference:.1e}')  # shown by pytest -s
    assert difference <= 1e-4


@torch.no_grad()
def test_irnet_cam(original):
    expected = oracle('irn_cam_net')
    model = converted_model('irnet_cam', original('irn_cam'), 'cam_resnet50.py', IRNET_OPTIONS)
    image, mirrored = model.compute_cam(expected['input']).cam
    agree(image + mirrored.flip(-1), expected['cam'])


@torch.no_grad()
def test_psa(original):
    expected = oracle('psa_cls_net')
    output = converted_model('psa', original('psa_cls'), 'cam_resnet38.py').compute_cam(expected['input'])
    agree(output.cam, expected['cam'])
    agree(output.logits, expected['logits'])


@torch.no_grad()
def test_seam(original):
    expected = oracle('seam_net')
    model = converted_model('seam', original('seam'), 'seam_resnet38.py')
    maps, feats = model.forward_maps(expected['input'])
    revised = model.pcm(maps, feats, expected['input'])
    size = expected['input'].shape[-2:]
    resized, revised = (F.interpolate(part, size=size, mode='bilinear', align_corners=True) for part in (maps, revised))
    agree(resized, expected['cam'][:, 1:])  # the original does not rectify
    assert (expected['cam'][:, 1:] < 0).any()
    agree(revised, expected['cam_rv'])
    output = model.compute_cam(expected['input'])
    agree(F.interpolate(output.cam, size=size, mode='bilinear', align_corners=True), expected['cam_rv'][:, 1:])


@torch.no_grad()
def test_affinity_net(original):
    expected = oracle('aff_net')
    model = converted_model('affinitynet', original('seam_aff'), 'affinitynet_resnet38.py')
    embedding = model.extract_feat(expected['input'])
    affinity, offsets = model.affinity(embedding, 5)
    height, width = embedding.shape[-2:]
    dense = torch.eye(height * width)
    for (dy, dx), plane in zip(offsets, affinity[0]):
        # The original drops the pairs of these borders.
        for y in range(height - 4):
            for x in range(4, width - 4):
                one, other = y * width + x, (y + dy) * width + x + dx
                dense[one, other] = dense[other, one] = plane[y, x]
    agree(dense, expected['affinity'])
    agree(affinity[:, :, :height - 4, 4:width - 4].flatten(2), expected['pairs'])


@torch.no_grad()
def test_irnet(original):
    expected = oracle('irn_edge_net')
    model = converted_model('irnet', original('irn_edge'), 'irnet_resnet50.py', {'model.test_cfg.pad_size': 128})
    edge = model.edge_map(expected['input'][:1])
    agree(edge[0], expected['edge'])
    height, width = expected['input'].shape[-2:]
    padded = F.pad(expected['input'][:1], (0, max(0, 128 - width), 0, max(0, 128 - height)))
    agree(model(padded)[1][0][..., :edge.shape[-2], :edge.shape[-1]], expected['displacement'])
    assert torch.equal(expected['input'][:1].flip(-1), expected['input'][1:])
