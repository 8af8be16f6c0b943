"""Weights under the names of the original repositories, for the tests of what converts them."""
import struct
import zlib
from collections import OrderedDict

import numpy as np
import torch
from mmseg.models.backbones import ResNet

from mmwsss.models.backbones.resnet38 import ResNet38

BLOCKS = {2: 3, 3: 3, 4: 6, 5: 3, 6: 1, 7: 1}  # of ResNet38's stages


def array_by_formula(key, shape):
    """The weights behind ../shared/oracles, see the README there."""
    array = np.random.RandomState(zlib.crc32(key.encode()) & 0x7fffffff).randn(*shape)
    if len(shape) >= 2:
        array *= 0.9 / np.sqrt(np.prod(shape[1:]))
    elif key.endswith('running_var'):
        array = 1 + 0.1 * np.abs(array)
    elif key.endswith('weight'):
        array = 1 + 0.1 * array
    else:
        array *= 0.1
    return torch.from_numpy(array.astype(np.float32))


def _by_formula(shapes):
    return OrderedDict((key, torch.zeros(shape, dtype=torch.int64) if key.endswith('num_batches_tracked')
                        else array_by_formula(key, shape)) for key, shape in shapes.items())


def _shapes(model):
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def psa_weights(width=1, num_classes=3):
    return _by_formula({**_shapes(ResNet38(base_channels=width)), 'fc8.weight': (num_classes, 64 * width, 1, 1)})


def seam_weights(width=1, num_classes=3):
    return _by_formula({**_shapes(ResNet38(base_channels=width)), 'fc8.weight': (num_classes + 1, 64 * width, 1, 1),
                        'f8_3.weight': (2, 8 * width, 1, 1), 'f8_4.weight': (4, 16 * width, 1, 1),
                        'f9.weight': (6, 9, 1, 1)})


def affinity_net_weights(width=1):
    return _by_formula({**_shapes(ResNet38(base_channels=width)), 'f8_3.weight': (2, 8 * width, 1, 1),
                        'f8_4.weight': (4, 16 * width, 1, 1), 'f8_5.weight': (5, 64 * width, 1, 1),
                        'f9.weight': (7, 11, 1, 1)})


def irnet_weights(width=1):
    """Every weight under all its names."""
    resnet = _shapes(ResNet(depth=50, base_channels=width, stem_channels=width))
    shapes = {f'resnet50.{key}': shape for key, shape in resnet.items()}
    names = {key: [key] for key in shapes}
    for key in resnet:
        module, _, rest = key.partition('.')
        stage = {'conv1': 'stage1.0', 'bn1': 'stage1.1'}.get(module) or f'stage{int(module[5:]) + 1}.0'
        names[f'resnet50.{key}'] += [f'{stage}.{rest}', f'backbone.{int(stage[5]) - 1}{stage[6:]}.{rest}']
    sizes = [width * factor for factor in (1, 4, 8, 16, 32)]
    layers = {'mean_shift.running_mean': ['mean_shift.running_mean', 'fc_dp7.4.running_mean',
                                          'dp_layers.6.4.running_mean']}
    shapes['mean_shift.running_mean'] = (2,)
    convolutions = [(f'fc_edge{i + 1}.0', 32, size, f'edge_layers.{i}.0') for i, size in enumerate(sizes)]
    convolutions += [(f'fc_dp{i + 1}.0', new, old, f'dp_layers.{i}.0') for i, (old, new) in enumerate(
        zip([*sizes, 768, 448], [64, 128, 256, 256, 256, 256, 256]))]
    convolutions += [('fc_edge6', 1, 160, 'edge_layers.5'), ('fc_dp7.3', 2, 256, 'dp_layers.6.3')]
    for layer, new, old, alias in convolutions:
        shapes[f'{layer}.weight'] = (new, old, 1, 1)
        layers[f'{layer}.weight'] = [f'{layer}.weight', f'{alias}.weight']
        if layer.endswith('.0'):  # normalised
            for kind in ('weight', 'bias'):
                shapes[f'{layer[:-1]}1.{kind}'] = (new,)
                layers[f'{layer[:-1]}1.{kind}'] = [f'{layer[:-1]}1.{kind}', f'{alias[:-1]}1.{kind}']
    shapes['fc_edge6.bias'], layers['fc_edge6.bias'] = (1,), ['fc_edge6.bias', 'edge_layers.5.bias']
    weights = _by_formula(shapes)
    return {name: weights[key] for key, group in {**names, **layers}.items() for name in group}


def irnet_cam_weights(width=1, num_classes=3):
    resnet = _shapes(ResNet(depth=50, base_channels=width, stem_channels=width))
    weights = _by_formula({**{f'resnet50.{key}': shape for key, shape in resnet.items()},
                           'classifier.weight': (num_classes, 32 * width, 1, 1)})
    places = {'conv1': 'stage1.0', 'bn1': 'stage1.1', 'layer1': 'stage1.4', 'layer2': 'stage2.0',
              'layer3': 'stage3.0', 'layer4': 'stage4.0'}
    for key in resnet:
        module, _, rest = key.partition('.')
        stage = f'{places[module]}.{rest}'
        weights[stage] = weights[f'resnet50.{key}']
        weights[f'backbone.{int(stage[5]) - 1}{stage[6:]}'] = weights[f'resnet50.{key}']
    weights['newly_added.0.weight'] = weights['classifier.weight']
    return weights


def resnet_weights(depth, width=1):
    weights = _by_formula(_shapes(ResNet(depth=depth, base_channels=width, stem_channels=width)))
    return {**weights, 'fc.weight': torch.ones(10, 32 * width), 'fc.bias': torch.ones(10)}


def mxnet_names():
    """Ours -> MXNet's names of ResNet38's weights."""
    norm = {'weight': 'arg:{}_gamma', 'bias': 'arg:{}_beta', 'running_mean': 'aux:{}_moving_mean',
            'running_var': 'aux:{}_moving_var'}
    names = {'conv1a.weight': 'arg:conv1a_weight', **{f'bn7.{p}': name.format('bn7') for p, name in norm.items()}}
    for stage, number in BLOCKS.items():
        branches = ['2a', '2b1'] + (['2b2'] if stage > 5 else [])
        for block in range(number):
            ours, theirs = (f'b{stage}_{block}', f'{stage}b{block}') if block else (f'b{stage}', f'{stage}a')
            for branch in branches + ([] if block else ['1']):
                names[f'{ours}.conv_branch{branch}.weight'] = f'arg:res{theirs}_branch{branch}_weight'
            for branch in branches:
                for p, name in norm.items():
                    names[f'{ours}.bn_branch{branch}.{p}'] = name.format(f'bn{theirs}_branch{branch}')
    return names


def mxnet_weights(width=1):
    weights = _by_formula(_shapes(ResNet38(base_channels=width)))
    renamed = {theirs: weights[ours] for ours, theirs in mxnet_names().items()}
    return {**renamed, 'arg:linear1000_weight': torch.ones(10, 64 * width), 'arg:linear1000_bias': torch.ones(10)}


def mxnet_file(arrays, version=2):
    """Bytes of a .params file. Version 0 is the layout of MXNet's first files."""
    content = struct.pack('<QQQ', 0x112, 0, len(arrays))
    for array in map(np.asarray, arrays.values()):
        flag = ['float32', 'float64', 'float16', 'uint8', 'int32', 'int8', 'int64'].index(array.dtype.name)
        if version:
            content += struct.pack('<I', 0xF993FAC7 + version) + (struct.pack('<i', 0) if version == 2 else b'')
        content += struct.pack(f'<I{array.ndim}{"q" if version else "I"}', array.ndim, *array.shape)
        content += struct.pack('<iii', 1, 0, flag) + array.tobytes()
    content += struct.pack('<Q', len(arrays))
    return content + b''.join(struct.pack('<Q', len(name.encode())) + name.encode() for name in arrays)
