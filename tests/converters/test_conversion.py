import argparse
import functools
import random
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from original_weights import (
    affinity_net_weights,
    irnet_cam_weights,
    irnet_weights,
    mxnet_weights,
    psa_weights,
    resnet_weights,
    seam_weights,
)

from mmwsss.converters import SOURCES, convert, load_torch_weights
from mmwsss.converters.resnet_keys import RESNET_SOURCES
from mmwsss.models import CAMClassifier
from mmwsss.utils.errors import UserError

MAKERS = dict(seam=seam_weights, psa=psa_weights, affinitynet=affinity_net_weights, irnet_cam=irnet_cam_weights,
              irnet=irnet_weights, resnet38_mxnet=mxnet_weights,
              **{f'resnet{depth}_{style}': functools.partial(resnet_weights, depth)
                 for depth in (50, 101) for style in ('caffe', 'torchvision')})
FILE = Path('folder/original.pth')


@pytest.fixture(scope='module')
def originals():
    return {name: make() for name, make in MAKERS.items()}


@pytest.fixture(params=SOURCES)
def original(request, originals):
    return SOURCES[request.param], OrderedDict(originals[request.param])


def fails(source, weights, *words):
    with pytest.raises(UserError) as error:
        convert(source, weights, FILE)
    message = str(error.value)
    assert '\n' not in message and message.startswith(f'{FILE}: ') and source.title in message
    assert all(word in message for word in words), message


def test_every_key_is_accounted_for(original):
    source, weights = original
    conversion = convert(source, weights, FILE)
    groups = [set(conversion.mapped), set(conversion.aliases), set(conversion.left_out)]
    assert set.union(*groups) == set(weights) and sum(map(len, groups)) == len(weights)
    assert set(conversion.mapped.values()) | set(conversion.zeros) == set(conversion.state_dict)
    assert len(conversion.mapped) + len(conversion.zeros) == len(conversion.state_dict)
    for theirs, ours in conversion.mapped.items():
        rows, _ = conversion.left_out_rows.get(theirs, (0, ''))
        assert torch.equal(conversion.state_dict[ours], weights[theirs][rows:] if rows else weights[theirs])
    for key, (rows, reason) in conversion.left_out_rows.items():
        assert len(conversion.state_dict[conversion.mapped[key]]) == len(weights[key]) - rows and reason
    assert all(conversion.left_out.values())


def some(keys):
    """The first, the last (sources differ at the ends) and some others; all would take long."""
    keys = list(keys)
    return [*keys[:2], *keys[-4:], *random.Random(0).sample(keys, 4)]


def test_key_missing(original):
    source, weights = original
    conversion = convert(source, weights, FILE)
    for key in some(key for key in conversion.mapped if not key.endswith('num_batches_tracked')):
        fails(source, {k: value for k, value in weights.items() if k != key}, f' missing ({key}')
    # What is not mapped may be absent.
    rest = convert(source, {key: weights[key] for key in conversion.mapped}, FILE)
    assert rest.state_dict.keys() == conversion.state_dict.keys() and not rest.aliases and not rest.left_out


def test_key_of_another_shape(original):
    source, weights = original
    for key in some(convert(source, weights, FILE).mapped):
        value = weights[key]
        fails(source, {**weights, key: value[None]}, f'({key} {tuple(value[None].shape)}')
        if value.ndim > 1:
            fails(source, {**weights, key: value[:, :0]}, ' of another shape (', key)


def test_extra_key(original):
    source, weights = original
    fails(source, {**weights, 'f8_9.weight': torch.ones(2)}, '1 key unexpected (f8_9.weight)')
    extra = {f'x.{i}': torch.ones(2) for i in range(4)}
    fails(source, {**weights, **extra}, '4 keys unexpected (x.0, x.1, x.2, ...)')


def test_several_faults_in_one_line(originals):
    weights = {**originals['psa'], 'x': torch.ones(1)}
    del weights['bn7.bias']
    fails(SOURCES['psa'], weights, '1 key missing (bn7.bias), 1 key unexpected (x); this is not ')


def test_checkpoint_of_another_source(originals):
    for wanted in SOURCES:
        for given in SOURCES:
            # ResNets of one depth have the same keys in both styles.
            if wanted.split('_')[0] != given.split('_')[0] or ('irnet' in wanted and wanted != given):
                # PSA's network is a part of SEAM's, and ResNet50 one of ResNet101.
                is_part = (wanted, given) == ('psa', 'seam') or ('resnet50_' in wanted and 'resnet101_' in given)
                word = 'unexpected' if is_part else 'missing'
                fails(SOURCES[wanted], originals[given], word)


@pytest.mark.parametrize('value', [
    3, 'text', None, [torch.ones(64)], torch.ones(1).expand(64), torch.ones(64).to_sparse(),
    torch.empty(64, device='meta')])
def test_no_dense_tensor(originals, value):
    fails(SOURCES['psa'], {**originals['psa'], 'bn7.bias': value}, '1 key that hold no dense tensor (bn7.bias)')


@pytest.mark.filterwarnings('ignore:The PyTorch API of nested tensors')
def test_nested_tensor(originals):
    value = torch.nested.nested_tensor([torch.ones(64)])
    fails(SOURCES['psa'], {**originals['psa'], 'bn7.bias': value}, '1 key that hold no dense tensor (bn7.bias)')


def test_type(originals):
    fails(SOURCES['psa'], {**originals['psa'], 'bn7.bias': torch.ones(64, dtype=torch.int32)},
          'of another type (bn7.bias torch.int32 instead of torch.float32)')
    fails(SOURCES['psa'], {**originals['psa'], 'bn7.num_batches_tracked': torch.tensor(1j)}, 'torch.complex64 instead')
    half = {key: value.half() if value.is_floating_point() else value for key, value in originals['psa'].items()}
    state_dict = convert(SOURCES['psa'], half, FILE).state_dict
    assert {value.dtype for value in state_dict.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize('key, shape', [
    ('conv1a.weight', (2**40, 0, 3, 3)), ('conv1a.weight', ()), ('conv1a.weight', (0, 3, 3, 3)),
    ('fc8.weight', (1, 64, 1, 1)), ('fc8.weight', (2**17, 0, 1, 1))])
def test_impossible_sizes(originals, key, shape):
    fails(SOURCES['seam'], {**originals['seam'], key: torch.empty(shape)}, f'impossible shape ({key} {shape}')


def test_parts_of_larger_tensors_are_copied(originals):
    large = torch.arange(6400.)
    weights = {**originals['psa'], 'bn7.bias': large[64:128], 'fc8.weight': torch.ones(64, 3, 1, 1).transpose(0, 1)}
    state_dict = convert(SOURCES['psa'], weights, FILE).state_dict
    assert torch.equal(state_dict['backbone.bn7.bias'], large[64:128])
    assert all(value.is_contiguous() and value.untyped_storage().nbytes() == value.numel() * value.element_size()
               for value in state_dict.values())


def test_running_counts_that_are_not_there_are_zero(originals):
    old = {key: value for key, value in originals['psa'].items() if not key.endswith('num_batches_tracked')}
    conversion = convert(SOURCES['psa'], old, FILE)
    assert len(conversion.zeros) == len(originals['psa']) - len(old) > 0
    model = CAMClassifier(dict(type='ResNet38', base_channels=1), dict(type='CAMHead', in_channels=64, num_classes=3))
    model.load_state_dict(conversion.state_dict)
    assert all(conversion.state_dict[key].shape == () and conversion.state_dict[key] == 0 for key in conversion.zeros)


def test_number_of_classes(originals):
    numbers = {name: convert(SOURCES[name], originals[name], FILE).num_classes for name in SOURCES
               if name not in RESNET_SOURCES}
    assert numbers == dict(seam=3, psa=3, affinitynet=None, irnet_cam=3, irnet=None, resnet38_mxnet=None)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('wrap', [
    lambda weights: weights, lambda weights: dict(state_dict=weights, epoch=3),
    lambda weights: OrderedDict((f'module.{key}', value) for key, value in weights.items())])
def test_files(tmp_path, originals, wrap, zipped):
    path = tmp_path / 'a.pth'
    torch.save(wrap(originals['irnet_cam']), path, _use_new_zipfile_serialization=zipped)
    conversion = convert(SOURCES['irnet_cam'], load_torch_weights(path), path)
    assert len(conversion.mapped) == 319 and len(conversion.aliases) == 637


def test_objects_are_not_unpickled(tmp_path, originals):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=originals['psa'], args=argparse.Namespace(lr=1)), path)
    with pytest.raises(UserError, match=r'a\.pth: holds Python objects \(argparse\.Namespace\)'):
        load_torch_weights(path)
