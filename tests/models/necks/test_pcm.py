import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import seam_reference as slow
import torch
from seam_reference import random
from torch.utils._python_dispatch import TorchDispatchMode

from mmwsss.models.necks import pcm as pcm_file
from mmwsss.models.necks.pcm import PCM, affinity_columns, normalize_features, pcm_seed, pixel_correlation
from mmwsss.registry import MODELS

ORACLES = Path(__file__).parents[3] / '../shared/oracles'
SHAPES = [(1, 1, 1, 1), (1, 3, 1, 6), (2, 1, 5, 3), (2, 4, 3, 4), (3, 2, 2, 5)]


class LargestTensor(TorchDispatchMode):
    """Entries of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for item in out if isinstance(out, (list, tuple)) else [out]:
            if isinstance(item, torch.Tensor):
                self.entries = max(self.entries, item.numel())
        return out


@pytest.fixture
def make_pcm():
    def make(seed=0, **kwargs):
        torch.manual_seed(seed)
        module = PCM(**{**dict(in_channels=(4, 6), reduced_channels=(3, 5), channels=7), **kwargs})
        for conv in (*module.reduce, module.theta):
            torch.nn.init.normal_(conv.weight)
        return module
    return make


def example(num_images=2, num_classes=3, size=(3, 4), scale=1.0):
    """Class maps, features of the strides 1 and 1/2 of theirs, and images of four times their size."""
    h, w = size
    maps, images = random(num_images, num_classes, h, w), random(num_images, 3, 4 * h, 4 * w, seed=1)
    feats = random(num_images, 4, 2 * h, 2 * w, seed=2), random(num_images, 6, h, w, seed=3)
    return maps.float(), tuple(scale * feat.float() for feat in feats), images.float()


@pytest.mark.parametrize('shape', SHAPES)
def test_seed_equals_loops(shape):
    maps = random(*shape, seed=sum(shape))
    maps[0, 0] = -maps[0, 0].abs()  # a class without any activation
    maps[:, 2:3] = maps[:, 1:2]  # both win
    torch.testing.assert_close(pcm_seed(maps), slow.pcm_seed(maps).float())


def test_winner_keeps_its_value_and_the_background_is_the_rest():
    maps = torch.tensor([[[[2.0, 1.0, -3.0]], [[0.0, 4.0, -1.0]]]], requires_grad=True)
    seed = pcm_seed(maps)
    expected = torch.tensor([[[[0, 0, 1]], [[1, 0, 0]], [[0, 1, 0]]]])
    torch.testing.assert_close(seed, expected.float(), rtol=0, atol=2e-5)
    assert seed[0, 1, 0, 0] < 1 and seed[0, 2, 0, 1] < 1  # the epsilons
    torch.testing.assert_close(pcm_seed(maps * 0.5)[0, 1:].amax(dim=0), seed[0, 1:].amax(dim=0), rtol=0, atol=5e-5)
    assert not seed.requires_grad


def test_seed_without_any_activation_is_background():
    for maps in (torch.zeros(1, 3, 4, 5), -torch.ones(1, 3, 4, 5), torch.full((1, 3, 4, 5), 9e-6)):
        seed = pcm_seed(maps)
        assert (seed[:, 0] == 1).all() and (seed[:, 1:] == 0).all()


@pytest.mark.parametrize('shape', SHAPES)
def test_correlation_equals_loops_forward_and_backward(shape):
    num_images, _, height, width = shape
    maps, features = random(*shape, seed=4).requires_grad_(), random(num_images, 5, height, width).requires_grad_()
    weights = random(*shape, seed=5)
    expected = slow.spread(maps, features)
    gradients = torch.autograd.grad((expected * weights).sum(), (maps, features))
    for max_entries in (pcm_file.MAX_ENTRIES, num_images * height * width * 3, 1):
        result = pixel_correlation(maps, features, max_entries)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-6)
        found = torch.autograd.grad((result * weights).sum(), (maps, features))
        for one, two in zip(found, gradients):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_affinity_columns_equal_loops():
    features = random(1, 5, 3, 4)
    f = normalize_features(features.flatten(2))
    torch.testing.assert_close(affinity_columns(f, f[:, :, 2:7])[0], slow.affinity(features[0])[:, 2:7].float())


@pytest.mark.parametrize('max_entries', [1, 2 * 35, 2 * 35 * 4, 2 * 35 * 34, 2 * 35 * 35])
def test_blocks_give_the_dense_result(make_pcm, max_entries):
    maps, feats, images = example(size=(5, 7))
    dense, blocks = make_pcm(), make_pcm(max_entries=max_entries)
    results = []
    for module in (dense, blocks):
        revised = module(maps, feats, images)
        (revised * random(*revised.shape)).sum().backward()
        results.append((revised, *(p.grad for p in module.parameters())))
    for one, two in zip(*results):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize('max_entries', [1, 200, 2 * 72 * 19, 2 * 72 * 72])
def test_no_tensor_is_larger_than_the_limit(max_entries):
    maps, features = random(2, 3, 8, 9).float(), random(2, 4, 8, 9).float()
    limit = max(max_entries, 2 * 4 * 72)  # maps and features exist in any case
    for gradient in (False, True):
        with LargestTensor() as largest, torch.set_grad_enabled(gradient):
            result = pixel_correlation(maps, features.requires_grad_(gradient), max_entries)
            if gradient:
                result.square().sum().backward()
        assert largest.entries <= limit
        assert largest.entries >= max_entries // 144 * 144  # and it is made use of


def test_blocks_keep_nothing_of_the_affinity_for_the_backward_pass():
    def kept(max_entries):
        sizes = []
        features = random(1, 4, 12, 12).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            pixel_correlation(random(1, 3, 12, 12), features, max_entries)
        return sum(sizes)
    assert kept(144 * 40) < 144 * 40 < 144 * 144 <= kept(144 * 144)


def test_image_of_500_x_375_at_scale_2_and_stride_8():
    """The affinity has 138 million entries; the values at some positions by the formula."""
    maps, features = random(1, 2, 94, 125).float(), random(1, 4, 94, 125).float()
    with LargestTensor() as largest, torch.inference_mode():
        result = pixel_correlation(maps, features).flatten(2)[0]
    assert largest.entries <= pcm_file.MAX_ENTRIES <= 2**24
    f = torch.nn.functional.normalize(features.flatten(2)[0].double(), dim=0)
    for j in (0, 1426, 1427, 11749):
        weights = (f * f[:, j:j + 1]).sum(dim=0).clamp(min=0)
        expected = (maps.flatten(2)[0].double() * weights).sum(dim=1) / weights.sum()
        torch.testing.assert_close(result[:, j].double(), expected, rtol=1e-4, atol=1e-6)


def test_constant_features_give_every_position_the_mean():
    maps = random(2, 3, 4, 5).float()
    for features in (torch.ones(2, 4, 4, 5), random(2, 4, 1, 1).float().expand(2, 4, 4, 5)):
        expected = maps.mean(dim=(2, 3), keepdim=True).expand_as(maps)
        torch.testing.assert_close(pixel_correlation(maps, features), expected, rtol=1e-3, atol=1e-5)
    features = torch.zeros(2, 4, 4, 5, requires_grad=True)
    result = pixel_correlation(maps, features)
    assert (result == 0).all()  # nothing resembles anything, not even itself
    result.sum().backward()
    assert features.grad.isfinite().all()


def test_single_position(make_pcm):
    maps, feats, images = example(size=(1, 1))
    revised = make_pcm()(maps, feats, images)
    torch.testing.assert_close(revised, pcm_seed(maps), rtol=1e-4, atol=1e-5)
    assert make_pcm()(maps, [feat[..., :1, :1] for feat in feats], images[..., :1, :1]).shape == (2, 4, 1, 1)


def test_maps_without_activation_stay_empty(make_pcm):
    _, feats, images = example()
    revised = make_pcm()(torch.zeros(2, 3, 3, 4), feats, images)
    assert (revised[:, 1:] == 0).all()
    torch.testing.assert_close(revised[:, 0], torch.ones(2, 3, 4), rtol=0, atol=1e-3)


@pytest.mark.parametrize('image_scale', [1.0, 1 / 57])
def test_module_equals_loops(make_pcm, image_scale):
    maps, feats, images = example()
    module = make_pcm(image_scale=image_scale)
    theta = slow.theta(module, feats, images.double(), (3, 4))
    torch.testing.assert_close(module.embed(feats, images, (3, 4)), theta.float(), rtol=1e-5, atol=1e-5)
    revised = module(maps, feats, images)
    expected = slow.spread(slow.pcm_seed(maps.double()), theta)
    torch.testing.assert_close(revised.double(), expected, rtol=1e-4, atol=1e-6)
    found, wanted = (torch.autograd.grad((x * random(*x.shape)).sum(), tuple(module.parameters()))
                     for x in (revised, expected))
    for one, two in zip(found, wanted):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_other_indices_take_other_features(make_pcm):
    maps, feats, images = example()
    swapped = make_pcm(in_indices=(1, 2))
    torch.testing.assert_close(swapped(maps, (None, *feats), images), make_pcm()(maps, feats, images))


def test_gradient_reaches_the_three_convolutions_only(make_pcm):
    maps, feats, images = example()
    for leaf in (maps, *feats):
        leaf.requires_grad_()
    for max_entries in (2**24, 50):
        module = make_pcm(max_entries=max_entries)
        module(maps, feats, images).square().sum().backward()
        names = {name for name, p in module.named_parameters() if p.grad.abs().sum() > 0}
        assert names == {'reduce.0.weight', 'reduce.1.weight', 'theta.weight'}
        assert maps.grad is None and all(feat.grad is None for feat in feats)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_large_inputs_of_half_precision_stay_finite(dtype):
    maps, features = (6e4 * random(1, 4, 5, 6, seed=s).clamp(-1, 1) for s in range(2))
    maps, features = maps.to(dtype), features.to(dtype).requires_grad_()
    for max_entries in (2**24, 90):
        with torch.autocast('cpu', dtype=dtype):
            result = pixel_correlation(pcm_seed(maps), features, max_entries)
        assert result.dtype == torch.float32 and result.isfinite().all()
        gradient, = torch.autograd.grad(result.square().sum(), features)
        assert gradient.isfinite().all()
        torch.testing.assert_close(result, pixel_correlation(pcm_seed(maps.float()), features.float()))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('scale', [1.0, 5e4])
def test_autocast_changes_nothing(make_pcm, dtype, scale):
    maps, feats, images = example()
    # Features that are numbers of half precision and far from zero: their sums over channels exceed float16.
    feats = tuple((scale * (feat.abs() + 0.1).clamp(max=1)).to(dtype) for feat in feats)
    module = make_pcm(image_scale=100.0)
    full = module(maps, [feat.float() for feat in feats], images)
    expected = torch.autograd.grad(full.square().sum(), tuple(module.parameters()))
    with torch.autocast('cpu', dtype=dtype):
        mixed = module(maps, feats, images)
        points = module.affinity([feat[:1] for feat in feats], images[:1], (3, 4), [(0.5, 0.5)])
    torch.testing.assert_close(mixed, full)
    for one, two in zip(torch.autograd.grad(mixed.square().sum(), tuple(module.parameters())), expected):
        assert one.isfinite().all()
        torch.testing.assert_close(one, two)
    assert points.dtype == torch.float32 and points.isfinite().all()


def test_memory_format_and_the_other_images_do_not_matter(make_pcm):
    maps, feats, images = example(num_images=3)
    module = make_pcm()
    together = module(maps, feats, images)
    last = torch.channels_last
    torch.testing.assert_close(
        module(maps.to(memory_format=last), [feat.to(memory_format=last) for feat in feats],
               images.to(memory_format=last)), together)
    for n in range(3):
        alone = module(maps[n:n + 1], [feat[n:n + 1] for feat in feats], images[n:n + 1])
        torch.testing.assert_close(alone, together[n:n + 1])


def test_affinity_of_points(make_pcm):
    _, feats, images = example(num_images=1)
    module = make_pcm()
    expected = slow.affinity(slow.theta(module, feats, images.double(), (3, 4))[0]).float()
    points = [(0.0, 0.0), (0.99, 0.0), (0.3, 0.4), (0.5, 0.99)]
    found = module.affinity(feats, images, (3, 4), points)
    for amount, j in zip(found, (0, 3, 4 + 1, 8 + 2)):
        torch.testing.assert_close(amount.flatten(), expected[:, j], rtol=1e-4, atol=1e-6)
        assert amount.sum().item() == pytest.approx(1, abs=1e-4)


def test_keys_and_shapes_are_those_that_the_converters_write():
    module = MODELS.build(dict(type='PCM'))
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == {
        'reduce.0.weight': (64, 512, 1, 1), 'reduce.1.weight': (128, 1024, 1, 1), 'theta.weight': (192, 195, 1, 1)}


def test_initialisation():
    """Kaiming normal for the reductions, Xavier with gain 4 for theta."""
    torch.manual_seed(0)
    module = PCM()
    module.init_weights()
    for conv, channels in zip(module.reduce, (512, 1024)):
        assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / channels), rel=0.02)
        assert conv.weight.abs().max() > 3 * conv.weight.std()  # normal
    bound = 4 * math.sqrt(6 / (195 + 192))
    assert 0.99 * bound < module.theta.weight.abs().max() <= bound
    assert module.theta.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)  # uniform
    constant = PCM(init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    constant.init_weights()
    assert all((p == 0.5).all() for p in constant.parameters())


@pytest.mark.parametrize('kwargs', [dict(in_channels=(4,)), dict(in_indices=(0, 1, 2)), dict(reduced_channels=())])
def test_lists_of_different_length(kwargs):
    with pytest.raises(ValueError, match='PCM'):
        PCM(**kwargs)


def test_original_code_gives_the_same():
    path = ORACLES / 'seam_pcm.npz'
    if not path.is_file():
        pytest.skip(f'{path} is not there')
    arrays = np.load(path, allow_pickle=False)
    state = np.random.RandomState(zlib.crc32(b'f9.weight') & 0x7fffffff)
    weight = torch.from_numpy(state.randn(192, 195, 1, 1) * 0.9 / np.sqrt(195)).float()
    features = torch.nn.functional.conv2d(torch.from_numpy(arrays['feature']), weight)
    cam, expected = torch.from_numpy(arrays['cam']), torch.from_numpy(arrays['out'])
    for max_entries in (2**24, 500):
        torch.testing.assert_close(pixel_correlation(cam, features, max_entries), expected, rtol=1e-4, atol=1e-6)
