import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmwsss.models.affinity.pixel_pairs import (
    clipped_radius,
    edge_affinity,
    feature_affinity,
    half_disc_offsets,
    pair_mask,
)
from mmwsss.models.affinity.random_walk import RandomWalk, chebyshev_coefficients, random_walk
from mmwsss.postprocessing import build_postprocessor
from mmwsss.registry import TASK_UTILS
from mmwsss.utils.errors import UserError

ORACLES = Path(__file__).parents[2] / '../shared/oracles'
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
OFFSETS = half_disc_offsets(5)
SIZES = [(1, 1), (1, 7), (6, 1), (2, 9), (4, 3), (9, 12)]


def load(name):
    return {key: torch.from_numpy(value) for key, value in np.load(ORACLES / f'{name}.npz').items()}


def make_inputs(size, batch=2, classes=3, offsets=OFFSETS, seed=0):
    """Affinities in [0, 1] with zeros outside, and maps."""
    generator = torch.Generator().manual_seed(seed)
    affinity = torch.rand(batch, len(offsets), *size, generator=generator) ** 0.2
    return affinity * pair_mask(size, offsets), torch.rand(batch, classes, *size, generator=generator)


def affinity_matrix(planes, offsets, border='all'):
    """The n x n affinities of one image with unit diagonal, float64, pair by pair."""
    height, width = planes.shape[-2:]
    margin = max((max(abs(dy), abs(dx)) for dy, dx in offsets), default=0)
    matrix = np.eye(height * width)
    for plane, (dy, dx) in zip(planes.tolist(), offsets):
        for y in range(height):
            for x in range(width):
                if not (0 <= y + dy < height and 0 <= x + dx < width):
                    continue
                if border == 'crop' and not (y < height - margin and margin <= x < width - margin):
                    continue
                i, j = y * width + x, (y + dy) * width + x + dx
                matrix[i, j] = matrix[j, i] = plane[y][x]
    return torch.from_numpy(matrix)


def transition_matrix(planes, offsets, beta, border='all'):
    matrix = affinity_matrix(planes, offsets, border) ** beta
    return matrix / matrix.sum(dim=0, keepdim=True)


def dense_walk(affinity, maps, offsets, beta, steps, border='all'):
    """x^T T^s by matrix powers, image by image, in float64."""
    walked = [x.double().flatten(1) @ torch.linalg.matrix_power(transition_matrix(planes, offsets, beta, border), steps)
              for planes, x in zip(affinity, maps)]
    return torch.stack(walked).view(maps.shape)


def column_sums(affinity, offsets, beta):
    return torch.stack([(affinity_matrix(planes, offsets) ** beta).sum(dim=0) for planes in affinity])[:, None]


def smooth_edges(size, seed=0, steepness=20):
    coarse = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(seed))
    return torch.sigmoid(steepness * (F.interpolate(coarse, size, mode='bicubic') - 0.5))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize(('beta', 'steps'), [(1, 1), (8, 2), (2.5, 7), (10, 256)])
def test_walk_is_the_matrix_power(size, beta, steps):
    affinity, maps = make_inputs(size)
    expected = dense_walk(affinity, maps, OFFSETS, beta, steps)
    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-10)):
        # The float64 reference starts from the float32 affinities as well.
        walked = random_walk(affinity.to(dtype), maps.to(dtype), OFFSETS, beta=beta, steps=steps)
        assert walked.dtype == dtype and walked.shape == maps.shape
        torch.testing.assert_close(walked.double(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize(('beta', 'steps', 'tolerance'), [(1, 1, 1e-4), (8, 6, 0), (2.5, 101, 1e-2), (10, 256, 1e-4)])
def test_error_of_chebyshev_is_within_its_bound(size, beta, steps, tolerance):
    affinity, maps = make_inputs(size)
    expected = dense_walk(affinity, maps, OFFSETS, beta, steps)
    sums = column_sums(affinity, OFFSETS, beta)

    def norm(x):
        return (sums * x.flatten(2) ** 2).sum(dim=-1).sqrt()

    options = dict(beta=beta, steps=steps, method='chebyshev', tolerance=tolerance)
    walked = random_walk(affinity.double(), maps.double(), OFFSETS, **options)
    bound = tolerance * norm(maps.double())
    assert (norm(walked - expected) <= bound + 1e-12).all()
    walked = random_walk(affinity, maps, OFFSETS, **options)
    assert (norm(walked - expected) <= bound + 1e-5 * norm(expected)).all()


def test_chebyshev_of_many_steps_is_shorter_and_close_at_every_pixel():
    affinity, maps = make_inputs((12, 15))
    expected = dense_walk(affinity, maps, OFFSETS, 8, 256)
    assert len(chebyshev_coefficients(256, 1e-4)[0]) - 1 == 64
    assert len(chebyshev_coefficients(256, 1e-5)[0]) - 1 == 72
    walked = random_walk(affinity, maps, OFFSETS, beta=8, steps=256, method='chebyshev')
    torch.testing.assert_close(walked.double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize('method', ['exact', 'chebyshev'])
def test_pixels_behind_strong_edges_keep_their_precision(method):
    size = (20, 24)
    affinity, maps = edge_affinity(smooth_edges(size), OFFSETS), make_inputs(size, batch=1)[1]
    sums = column_sums(affinity, OFFSETS, 10)
    assert sums.min() < 1 + 1e-5 < 2 < sums.max()
    walked = random_walk(affinity, maps, OFFSETS, beta=10, steps=256, method=method, tolerance=1e-6)
    expected = dense_walk(affinity, maps, OFFSETS, 10, 256)
    torch.testing.assert_close(walked.double(), expected, rtol=5e-5, atol=0)


@pytest.mark.parametrize('method', ['exact', 'chebyshev'])
def test_mass_range_and_constants_are_kept(method):
    affinity, maps = make_inputs((9, 12))
    maps = maps * 3 - 1
    maps[:, 0] = 0.7
    walked = random_walk(affinity, maps, OFFSETS, beta=8, steps=64, method=method)
    torch.testing.assert_close(walked[:, 0], maps[:, 0], rtol=1e-5, atol=0)
    sums = column_sums(affinity, OFFSETS, 8)
    mass = [(sums * x.double().flatten(2)).sum(dim=-1) for x in (walked, maps)]
    torch.testing.assert_close(*mass, rtol=1e-5, atol=0)
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    assert ((walked >= low - 1e-5) & (walked <= high + 1e-5)).all()
    assert (walked[:, 1:].amax(dim=(2, 3)) < 0.9 * maps[:, 1:].amax(dim=(2, 3))).all()


def test_coarse_chebyshev_stays_in_the_range_of_the_map():
    affinity = pair_mask((3, 40), OFFSETS)[None].float()
    maps = torch.zeros(1, 2, 3, 40)
    maps[0, 0, 1, 20], maps[0, 1] = 1, -2
    maps[0, 1, :, 30:] = -1
    options = dict(beta=1, steps=64, method='chebyshev', tolerance=0.2)
    walked = random_walk(affinity, maps, OFFSETS, **options)
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    assert ((walked >= low) & (walked <= high)).all()
    # The polynomial alone would leave it.
    assert (walked == low).any()
    assert not (random_walk(affinity, maps, OFFSETS, beta=1, steps=64) == low)[0, 0].any()


def test_steps_add_up():
    affinity, maps = make_inputs((6, 8))
    twice = random_walk(affinity, random_walk(affinity, maps, OFFSETS, beta=4, steps=5), OFFSETS, beta=4, steps=3)
    torch.testing.assert_close(random_walk(affinity, maps, OFFSETS, beta=4, steps=8), twice)


@pytest.mark.parametrize('method', ['exact', 'chebyshev'])
def test_batch_is_its_images(method):
    affinity, maps = make_inputs((9, 12), batch=3)
    options = dict(beta=8, steps=32, method=method)
    batch = random_walk(affinity, maps, OFFSETS, **options)
    single = [random_walk(a[None], m[None], OFFSETS, **options) for a, m in zip(affinity, maps)]
    torch.testing.assert_close(batch, torch.cat(single), rtol=1e-6, atol=0)
    one = random_walk(affinity, maps[:, 1:2], OFFSETS, **options)
    torch.testing.assert_close(batch[:, 1:2], one, rtol=1e-6, atol=0)
    stacked = torch.cat([affinity, maps], dim=1).contiguous(memory_format=torch.channels_last)
    other = random_walk(stacked[:, :len(OFFSETS)], stacked[:, len(OFFSETS):], OFFSETS, **options)
    torch.testing.assert_close(batch, other, rtol=1e-6, atol=0)


@pytest.mark.parametrize(('batch', 'classes'), [(1, 0), (0, 2), (2, 1)])
@pytest.mark.parametrize('method', ['exact', 'chebyshev'])
def test_any_number_of_images_and_maps(batch, classes, method):
    affinity, maps = make_inputs((5, 6), batch, classes)
    walked = random_walk(affinity, maps, OFFSETS, beta=8, steps=16, method=method)
    assert walked.shape == (batch, classes, 5, 6)


def test_without_pairs_nothing_moves():
    maps = torch.rand(2, 3, 1, 5)
    assert torch.equal(random_walk(torch.zeros(2, 0, 1, 5), maps, (), beta=8, steps=3), maps)


def test_entries_that_are_no_pairs_do_not_count():
    for border in ('all', 'crop'):
        affinity, maps = make_inputs((10, 11))
        options = dict(beta=8, steps=16, border=border)
        expected = random_walk(affinity, maps, OFFSETS, **options)
        affinity.masked_fill_(~pair_mask((10, 11), OFFSETS, border), float('nan'))
        assert torch.equal(random_walk(affinity, maps, OFFSETS, **options), expected)


@pytest.mark.parametrize('method', ['exact', 'chebyshev'])
def test_arguments_stay_as_they_are(method):
    affinity, maps = make_inputs((5, 6))
    before = affinity.clone(), maps.clone()
    walked = random_walk(affinity.requires_grad_(), maps.requires_grad_(), OFFSETS, beta=8, steps=3, method=method)
    assert torch.equal(affinity, before[0]) and torch.equal(maps, before[1])
    assert not walked.requires_grad


def test_low_precision_is_walked_in_float32():
    affinity, maps = make_inputs((6, 7))
    expected = random_walk(affinity.bfloat16().float(), maps.half().float(), OFFSETS, beta=8, steps=16)
    with torch.autocast('cpu', torch.bfloat16):
        walked = random_walk(affinity.bfloat16(), maps.half(), OFFSETS, beta=8, steps=16)
    assert walked.dtype == torch.float32
    torch.testing.assert_close(walked, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize('size', [(10, 11), (12, 9), (6, 20), (3, 3)])
def test_cropped_pairs(size):
    affinity, maps = make_inputs(size)
    walked = random_walk(affinity, maps, OFFSETS, beta=8, steps=16, border='crop')
    expected = dense_walk(affinity, maps, OFFSETS, 8, 16, 'crop')
    torch.testing.assert_close(walked.double(), expected, rtol=1e-5, atol=0)


def test_small_maps_with_a_smaller_radius():
    walk = RandomWalk(beta=8, steps=16, border='crop')
    offsets = half_disc_offsets(clipped_radius(walk.radius, (6, 7)))
    assert 0 < len(offsets) < len(walk.offsets)
    features, maps = torch.randn(2, 4, 6, 7, generator=torch.Generator().manual_seed(0)), make_inputs((6, 7))[1]
    affinity = feature_affinity(features, offsets)
    walked = walk(affinity, maps, offsets)
    torch.testing.assert_close(walked.double(), dense_walk(affinity, maps, offsets, 8, 16, 'crop'), rtol=1e-5, atol=0)
    assert not torch.allclose(walked, maps)


@pytest.mark.parametrize('steps', [1, 2, 3, 8, 64, 255, 256])
def test_coefficients_are_those_of_the_power(steps):
    coefficients, bound = chebyshev_coefficients(steps, 0)
    exact = np.zeros(steps + 1)
    for k in range(steps % 2, steps + 1, 2):
        exact[k] = float(Fraction(math.comb(steps, (steps - k) // 2) * (1 if k == 0 else 2), 2 ** steps))
    assert bound == 0
    np.testing.assert_allclose(coefficients, exact, rtol=1e-12)


@pytest.mark.parametrize('steps', [2, 64, 256, 1001, 2 ** 16])
@pytest.mark.parametrize('tolerance', [0.5, 1e-2, 1e-4, 1e-8])
def test_polynomial_is_the_shortest_within_the_bound(steps, tolerance):
    coefficients, bound = chebyshev_coefficients(steps, tolerance)
    degree = len(coefficients) - 1
    assert bound <= tolerance and degree <= min(steps, math.sqrt(2 * steps * math.log(4 / tolerance)))
    x = np.cos(np.linspace(0, np.pi, 4001))
    polynomial = np.polynomial.chebyshev.chebval(x, coefficients)
    assert abs(polynomial - x ** steps).max() <= bound + 1e-11
    assert polynomial[0] == pytest.approx(1, abs=1e-11)
    if degree >= 2:
        # With one term less, what is left out would be too much.
        everything, _ = chebyshev_coefficients(steps, 0)
        assert 2 * everything[degree:].sum() > tolerance


def test_walk_of_all_coefficients_is_exact():
    affinity, maps = make_inputs((6, 7))
    options = dict(beta=8, steps=9)
    expected = random_walk(affinity.double(), maps, OFFSETS, **options)
    walked = random_walk(affinity.double(), maps, OFFSETS, **options, method='chebyshev', tolerance=0)
    torch.testing.assert_close(walked, expected, rtol=1e-12, atol=0)


class Memory(TorchDispatchMode):
    """Entries of the largest tensor, and the most bytes that were alive at a time, of the tensors made inside."""

    def __init__(self):
        super().__init__()
        self.largest, self.peak, self.alive = 0, 0, {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.largest = max(self.largest, storage.nbytes() // tensor.element_size())
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


@pytest.mark.parametrize('method', ['exact', 'chebyshev'])
def test_memory_is_a_few_values_a_pixel(method):
    size, classes = (128, 128), 3
    pixels = size[0] * size[1]
    walk = RandomWalk(beta=10, steps=4, method=method)
    edge, maps = smooth_edges(size), make_inputs((1, 1), 1, classes)[1].expand(-1, -1, *size).contiguous()
    with Memory() as memory:
        walk(edge_affinity(edge, walk.offsets), maps)
    # The planes; a matrix would have 16,384 values a pixel.
    assert memory.largest == 34 * pixels
    # Affinities and weights at once, and what the docstring says.
    assert 2 * 34 * 4 * pixels < memory.peak < 4 * pixels * (34 + 34 + 20 + 3 * classes)
    # 2,048 x 2,048 images need less than 4 GB, even at full size.
    assert memory.peak / pixels * 2048 ** 2 < 2e9


@needs_oracles
@pytest.mark.parametrize(('method', 'tolerance'), [('exact', 0), ('chebyshev', 1e-5)])
@pytest.mark.parametrize(('key', 'beta', 'steps'), [('out', 10, 256), ('out_short', 4, 8)])
def test_walk_is_that_of_irnet(key, beta, steps, method, tolerance):
    oracle = load('irn_walk')
    edge = oracle['edge'][None]
    walk = RandomWalk(beta, steps, method=method, tolerance=tolerance)
    walked = walk(edge_affinity(edge, walk.offsets), oracle['cam'][None] * (1 - edge))
    torch.testing.assert_close(walked[0], oracle[key][:, 0], rtol=1e-3, atol=1e-9)


@needs_oracles
def test_transition_is_that_of_affinitynet():
    oracle, size = load('aff_net'), (12, 14)
    planes = torch.zeros(1, len(OFFSETS), *size)
    planes[:, pair_mask(size, OFFSETS, 'crop')] = oracle['pairs'].flatten(1)
    matrix = oracle['affinity'].double() ** 8
    power = torch.linalg.matrix_power(matrix / matrix.sum(dim=0, keepdim=True), 64)
    maps = make_inputs(size, batch=1)[1]
    walked = RandomWalk(8, 64, border='crop')(planes, maps)
    torch.testing.assert_close(walked.double().flatten(2), maps.double().flatten(2) @ power, rtol=1e-4, atol=0)


def test_built_from_a_config():
    walk = TASK_UTILS.build(dict(type='RandomWalk', beta=10, steps=16, radius=3))
    affinity, maps = make_inputs((5, 6), offsets=walk.offsets)
    assert torch.equal(walk(affinity, maps), random_walk(affinity, maps, half_disc_offsets(3), beta=10, steps=16))
    assert repr(walk) == "RandomWalk(radius=3, beta=10, steps=16, border='all', method='exact', tolerance=0.0001)"


def test_not_a_postprocessor_of_scores():
    with pytest.raises(UserError, match="'RandomWalk' is not registered"):
        build_postprocessor(dict(type='RandomWalk'))


@pytest.mark.parametrize(('options', 'part'), [
    (dict(beta=0), 'beta'), (dict(beta=float('inf')), 'beta'), (dict(steps=0), 'steps'), (dict(steps=2.0), 'steps'),
    (dict(border='wrap'), 'border'), (dict(method='dense'), 'method'), (dict(tolerance=1), 'tolerance'),
    (dict(tolerance=-1e-4), 'tolerance'), (dict(radius=1), 'radius'), (dict(radius=5.0), 'radius')])
def test_mistakes_in_options(options, part):
    with pytest.raises(ValueError, match=f'RandomWalk: {part}'):
        RandomWalk(**options)


def test_mistakes_in_arguments():
    affinity, maps = make_inputs((5, 6))
    for wrong in ((affinity[:, :-1], maps), (affinity[:1], maps), (affinity, maps[..., :-1]), (affinity, maps[:, 0])):
        with pytest.raises(ValueError, match='N x 34 x h x w'):
            RandomWalk()(*wrong)
    with pytest.raises(ValueError, match='half disc'):
        random_walk(affinity[:, :1], maps, [(-1, 2)], beta=8, steps=1)
    for wrong in ((0, 1e-4), (4, 1), (4, -1)):
        with pytest.raises(ValueError, match='chebyshev_coefficients'):
            chebyshev_coefficients(*wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('method', ['exact', 'chebyshev'])
def test_gpu_gives_the_same(method):
    edge, maps = smooth_edges((30, 37)), make_inputs((30, 37), batch=1)[1]
    walk = RandomWalk(beta=10, method=method)
    expected = walk(edge_affinity(edge, walk.offsets), maps)
    walked = walk(edge_affinity(edge.cuda(), walk.offsets), maps.cuda())
    assert walked.is_cuda
    torch.testing.assert_close(walked.cpu(), expected, rtol=1e-4, atol=1e-6)
