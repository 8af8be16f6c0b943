import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.models.backbones.resnet38 import BasicBlock, BottleneckBlock, ResNet38
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

ORACLES = Path(__file__).parents[3] / '../shared/oracles'
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')


def randomize(module, seed=0):
    """Makes every parameter and statistic count, at a size that keeps activations in range."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if tensor.ndim > 1:
            noise *= tensor[0].numel() ** -0.5
        elif name.endswith('running_var'):
            noise = 1 + 0.3 * noise.abs()
        elif name.endswith('weight'):
            noise = 1 + 0.3 * noise
        tensor.copy_(noise)
    return module


def small(**kwargs):
    return randomize(ResNet38(base_channels=2, **kwargs))


def slow_conv(x, weight, stride=1, dilation=1):
    """Zero-padded convolution of a C x H x W array, one output number at a time."""
    out_channels, _, k, _ = weight.shape
    pad = dilation * (k - 1) // 2
    _, height, width = x.shape
    out = np.zeros((out_channels, -(-height // stride), -(-width // stride)))
    for o, i, j in np.ndindex(*out.shape):
        for dy, dx in np.ndindex(k, k):
            y, z = i * stride + dy * dilation - pad, j * stride + dx * dilation - pad
            if 0 <= y < height and 0 <= z < width:
                out[o, i, j] += weight[o, :, dy, dx] @ x[:, y, z]
    return out


def slow_norm_relu(x, state, name):
    weight, bias, mean, var = (state[f'{name}.{key}'][:, None, None]
                               for key in ('weight', 'bias', 'running_mean', 'running_var'))
    return np.maximum(0, (x - mean) / np.sqrt(var + 1e-5) * weight + bias)


def numpy_state(module):
    return {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize('channels, stride, dilations, size', [
    ((3, 2, 5), 2, (1, 1), (5, 6)),
    ((3, 2, 5), 1, (1, 2), (5, 4)),
    ((4, 3, 4), 1, (2, 2), (4, 5)),
    ((4, 3, 4), 2, (1, 1), (3, 3)),
])
def test_basic_block(channels, stride, dilations, size):
    block = randomize(BasicBlock(*channels, stride, dilations).double()).eval()
    x = torch.randn(1, channels[0], *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = numpy_state(block)
    raw = x[0].numpy()
    activated = slow_norm_relu(raw, state, 'bn_branch2a')
    branch = slow_conv(activated, state['conv_branch2a.weight'], stride, dilations[0])
    branch = slow_norm_relu(branch, state, 'bn_branch2b1')
    branch = slow_conv(branch, state['conv_branch2b1.weight'], 1, dilations[1])
    if channels[0] == channels[2] and stride == 1:
        assert 'conv_branch1.weight' not in state
        shortcut = raw
    else:
        shortcut = slow_conv(activated, state['conv_branch1.weight'], stride)

    out, tap = block(x.clone())
    np.testing.assert_allclose(out[0].detach().numpy(), shortcut + branch, atol=1e-12)
    np.testing.assert_allclose(tap[0].detach().numpy(), activated, atol=1e-12)


def test_bottleneck_block():
    block = randomize(BottleneckBlock(3, 8, dilation=4, dropout=0.5).double()).eval()
    x = torch.randn(1, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = numpy_state(block)
    assert state['conv_branch2a.weight'].shape == (2, 3, 1, 1)
    assert state['conv_branch2b1.weight'].shape == (4, 2, 3, 3)
    activated = slow_norm_relu(x[0].numpy(), state, 'bn_branch2a')
    branch = slow_conv(activated, state['conv_branch2a.weight'])
    branch = slow_norm_relu(branch, state, 'bn_branch2b1')
    branch = slow_conv(branch, state['conv_branch2b1.weight'], 1, 4)
    branch = slow_norm_relu(branch, state, 'bn_branch2b2')
    branch = slow_conv(branch, state['conv_branch2b2.weight'])
    shortcut = slow_conv(activated, state['conv_branch1.weight'])

    out, tap = block(x.clone())
    np.testing.assert_allclose(out[0].detach().numpy(), shortcut + branch, atol=1e-12)
    np.testing.assert_allclose(tap[0].detach().numpy(), activated, atol=1e-12)


def test_dropout_drops_whole_channels_in_training_only():
    model = small(dropout_b6=0.3, dropout_b7=0.6, norm_eval=True)
    assert (model.b6.dropout.p, model.b7.dropout.p) == (0.3, 0.6)
    block = model.b7
    seen = []
    block.conv_branch2b1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    block.conv_branch2b2.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.rand(4, 64, 3, 3) * 5
    model.train()
    torch.manual_seed(0)
    block(x)
    model.eval()
    block(x)
    for dropped, whole in zip(seen[:2], seen[2:]):
        empty = (dropped == 0).all(dim=(2, 3)) & (whole > 0).any(dim=(2, 3))
        assert 0.4 < empty.float().mean() / (whole > 0).any(dim=(2, 3)).float().mean() < 0.8
    with torch.no_grad():
        kept = (seen[0] != 0).all(dim=(2, 3))
        torch.testing.assert_close(seen[0][kept], seen[2][kept] / 0.4)


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (8, 8), (17, 30), (33, 41)])
@pytest.mark.parametrize('batch', [1, 2])
def test_shapes(size, batch):
    taps = small().eval()(torch.randn(batch, 3, *size))
    grid = tuple(-(-n // 8) for n in size)
    assert [tuple(tap.shape) for tap in taps] == [(batch, 16, *grid), (batch, 32, *grid), (batch, 128, *grid)]
    assert all((tap >= 0).all() and torch.isfinite(tap).all() for tap in taps)


@pytest.mark.parametrize('out_indices', [(0,), (2,), (0, 2), (0, 1, 2), ()])
def test_out_indices(out_indices):
    x = torch.randn(1, 3, 24, 24)
    everything = small().eval()(x)
    taps = small(out_indices=out_indices).eval()(x)
    assert len(taps) == len(out_indices)
    for index, tap in zip(out_indices, taps):
        assert torch.equal(tap, everything[index])


def test_batch_items_do_not_mix():
    model = small().eval()
    x = torch.randn(3, 3, 20, 27)
    for together, alone in zip(model(x), model(x[1:2])):
        torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize('frozen_stages', range(7))
def test_frozen_stages(frozen_stages):
    model = small(frozen_stages=frozen_stages)
    stages = [('conv1a', 'b2'), ('b3',), ('b4',), ('b5',), ('b6',), ('b7', 'bn7')]
    frozen = [name for stage in stages[:frozen_stages] for name in stage]
    for trained in (model, model.train(), model.eval().train()):
        for name, parameter in trained.named_parameters():
            assert parameter.requires_grad == (name.split('.')[0].split('_')[0] not in frozen)
    for name, module in model.named_modules():
        if name:
            assert module.training == (name.split('.')[0].split('_')[0] not in frozen)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.randn(2, 3, 16, 16))
    for name, tensor in model.state_dict().items():
        moved = not torch.equal(tensor, before[name])
        is_statistic = 'running' in name or 'tracked' in name
        assert moved == (is_statistic and name.split('.')[0].split('_')[0] not in frozen)


@pytest.mark.parametrize('norm_frozen', [False, True])
@pytest.mark.parametrize('norm_eval', [False, True])
def test_norms(norm_eval, norm_frozen):
    model = small(norm_eval=norm_eval, norm_frozen=norm_frozen)
    assert model.train() is model
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    assert len(norms) == 2 * 15 + 2 * 3 + 1
    for norm in norms:
        assert norm.training is not norm_eval
        assert norm.weight.requires_grad is norm.bias.requires_grad is not norm_frozen
    assert model.conv1a.training and model.conv1a.weight.requires_grad
    model.eval()
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize('norm_eval', [False, True])
@pytest.mark.parametrize('frozen_stages', [0, 1])
def test_checkpointing_changes_nothing(norm_eval, frozen_stages):
    x = torch.randn(2, 3, 16, 24)
    results = []  # of the plain and of the checkpointed model
    for with_cp in (False, True):
        model = small(with_cp=with_cp, norm_eval=norm_eval, frozen_stages=frozen_stages).train()
        torch.manual_seed(3)
        taps = model(x)
        loss = sum((tap * torch.linspace(-1, 1, tap.numel()).view_as(tap)).sum() for tap in taps)
        loss.backward(retain_graph=True)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
        loss.backward()
        twice = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        statistics = dict(model.named_buffers())
        results.append((gradients, twice, statistics))
        assert all(m.momentum == 0.1 for m in model.modules() if isinstance(m, _BatchNorm))
    for plain, checkpointed in zip(*results):
        assert plain.keys() == checkpointed.keys()
        for name in plain:
            torch.testing.assert_close(plain[name], checkpointed[name])


def test_checkpointing_runs_blocks_again_only_for_gradients():
    model = small(with_cp=True).train()
    calls = []
    model.b4_2.conv_branch2a.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(torch.randn(2, 3, 16, 16))
    assert len(calls) == 1
    sum(tap.sum() for tap in model(torch.randn(2, 3, 16, 16))).backward()
    assert len(calls) == 3


def test_registry_and_init_weights():
    model = MODELS.build({'type': 'mmwsss.ResNet38', 'base_channels': 4, 'frozen_stages': 1})
    assert isinstance(model, ResNet38)
    nn.init.zeros_(model.b3.conv_branch2a.weight)
    nn.init.zeros_(model.b3.bn_branch2a.weight)
    model.init_weights()
    assert model.b3.conv_branch2a.weight.std() > 0
    assert (model.b3.bn_branch2a.weight == 1).all()


def test_pretrained_file(tmp_path):
    source = small()
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'weights.pth')
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'weights.pth')}
    model = ResNet38(base_channels=2, init_cfg=init_cfg)
    model.init_weights()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name])


@pytest.mark.parametrize('kwargs, message', [
    ({'out_indices': (3,)}, 'out_indices'),
    ({'out_indices': (-1,)}, 'out_indices'),
    ({'out_indices': (1, 0)}, 'out_indices'),
    ({'frozen_stages': 7}, 'frozen_stages=7'),
    ({'frozen_stages': -1}, 'frozen_stages=-1'),
    ({'base_channels': 0}, 'base_channels'),
])
def test_mistakes(kwargs, message):
    with pytest.raises(UserError, match=message):
        ResNet38(**{'base_channels': 2, **kwargs})


@needs_oracles
def test_keys_of_the_original():
    keys = json.loads((ORACLES / 'keys.json').read_text())['psa_cls']
    with torch.device('meta'):
        state = ResNet38().state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == {
        name: entry['shape'] for name, entry in keys.items() if not name.startswith('fc8')}


def array_by_formula(key, shape):
    """The oracle's weights, see ../shared/oracles/README.md."""
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


@needs_oracles
@torch.no_grad()
def test_same_numbers_as_the_original():
    with torch.device('meta'):
        model = ResNet38(out_indices=(2,))
    model = model.to_empty(device='cpu').eval()
    for name, tensor in model.state_dict().items():
        tensor.copy_(array_by_formula(name, tensor.shape) if tensor.is_floating_point() else tensor.zero_())
    fc8 = array_by_formula('fc8.weight', (20, 4096, 1, 1))
    with np.load(ORACLES / 'psa_cls_net.npz', allow_pickle=False) as oracle:
        conv6, = model(torch.from_numpy(oracle['input']))
        maps = F.conv2d(conv6, fc8)
        for ours, name in ((maps.relu(), 'cam'), (maps.mean(dim=(2, 3)), 'logits')):
            theirs = torch.from_numpy(oracle[name])
            assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
