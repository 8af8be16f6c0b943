import itertools

import numpy as np
import pytest
import torch

from mmwsss.postprocessing.crf_backends import import_error
from mmwsss.postprocessing.mean_field import ImageKernels, appearance_features, mean_field, position_features
from mmwsss.postprocessing.permutohedral import (
    PermutohedralLattice,
    SymmetricKernel,
    feature_scales,
    pack_keys,
    simplex,
)
from mmwsss.utils.errors import UserError

DIMENSIONS = pytest.mark.parametrize('num_features', [1, 2, 3, 5])


def random_features(num_features, num_points=300, spread=4.0, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((num_points, num_features)).astype(np.float32)) * spread


def elevated(features):
    """Page 5 of the paper, as a matrix in float64."""
    d = features.shape[1]
    basis = np.zeros((d + 1, d))
    for j in range(d):
        basis[:j + 1, j] = 1
        basis[j + 1, j] = -(j + 1)
    return features.double().numpy() * np.array(feature_scales(d)) @ basis.T


def dictionary_filter(features, values):
    """Splat, blur and slice in float64 with a dictionary of lattice points."""
    d = features.shape[1]
    origin, rank, weights = (part.numpy() for part in simplex(features))
    vertices = [[tuple(origin[n] + [k - (d + 1) * (rank[n, i] > d - k) for i in range(d + 1)]) for k in range(d + 1)]
                for n in range(len(features))]
    lattice = {vertex: np.zeros(values.shape[1]) for vertex in itertools.chain(*vertices)}
    for n, k in itertools.product(range(len(features)), range(d + 1)):
        lattice[vertices[n][k]] += float(weights[n, k]) * values[n]
    for direction in range(d + 1):
        def at(vertex, sign, lattice=lattice, direction=direction):
            step = np.ones(d + 1, int)
            step[direction] -= d + 1
            return lattice.get(tuple(vertex + sign * step), 0)
        lattice = {vertex: value + (at(vertex, 1) + at(vertex, -1)) / 2 for vertex, value in lattice.items()}
    return np.array([sum(float(weights[n, k]) * lattice[vertices[n][k]] for k in range(d + 1))
                     for n in range(len(features))]) / (1 + 2 ** -d)


@DIMENSIONS
def test_a_point_is_the_weighted_sum_of_the_vertices_of_its_simplex(num_features):
    features = random_features(num_features) - 2
    origin, rank, weights = simplex(features)
    size = num_features + 1
    assert (origin.sum(dim=1) == 0).all() and (origin % size == 0).all()
    assert (rank.sort(dim=1).values == torch.arange(size)).all()
    assert (weights > -1e-5).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(features)))
    corners = torch.stack([origin + k - size * (rank > num_features - k) for k in range(size)], dim=1)
    assert (corners.sum(dim=2) == 0).all()
    np.testing.assert_allclose((weights[..., None] * corners).sum(dim=1).numpy(), elevated(features), atol=1e-4)


def filters():
    yield 'torch'
    yield pytest.param('numba', marks=pytest.mark.skipif(import_error('numba') is not None, reason='no numba'))


@pytest.mark.parametrize('way', filters())
@DIMENSIONS
def test_filter_equals_the_dictionary(num_features, way):
    features = random_features(num_features, 200, spread=2.5)
    values = np.random.default_rng(1).random((200, 3)).astype(np.float32)
    if way == 'torch':
        got = PermutohedralLattice(features).filter(torch.from_numpy(values)).numpy()
    else:
        from mmwsss.postprocessing.numba_crf import NumbaLattice
        got = NumbaLattice(features.numpy()).filter(values)
    np.testing.assert_allclose(got, dictionary_filter(features, values), rtol=2e-5, atol=1e-5)


# The lattice is an approximation of the Gaussian: on points this dense its mean error is some percent.
@pytest.mark.parametrize('num_features, bound', [(1, 0.03), (2, 0.05), (3, 0.08), (5, 0.15)])
def test_filter_approximates_the_gaussian(num_features, bound):
    features = random_features(num_features, 800, spread=3.0)
    values = torch.from_numpy(np.random.default_rng(2).random((800, 2)).astype(np.float32))
    exact = torch.exp(-torch.cdist(features.double(), features.double()) ** 2 / 2)
    norm = exact.sum(dim=1, keepdim=True).rsqrt()
    expected = norm * (exact @ (norm * values))
    error = (SymmetricKernel(features)(values) - expected).abs().mean() / expected.abs().mean()
    assert error < bound


def test_points_of_different_images_do_not_see_each_other():
    features = [random_features(5, n, seed=n) for n in (50, 70, 1)]
    values = [torch.rand(len(f), 2, generator=torch.Generator().manual_seed(len(f))) for f in features]
    image = torch.repeat_interleave(torch.arange(3), torch.tensor([50, 70, 1]))
    got = PermutohedralLattice(torch.cat(features), image).filter(torch.cat(values))
    expected = torch.cat([PermutohedralLattice(f).filter(v) for f, v in zip(features, values)])
    torch.testing.assert_close(got, expected)


def test_codes_are_unique_and_neighbours_are_one_step_away():
    packing = pack_keys([0.0, -1.0], [3.0, 2.0])
    features = random_features(2, 500, spread=3.0) - torch.tensor([0.0, 1.0])
    origin, rank, _ = simplex(features)
    keys = {tuple((origin[n] + k - 3 * (rank[n] > 2 - k).long()).tolist()) for n in range(500) for k in range(3)}

    def code(key):
        return sum((value - low) * stride for value, low, stride in zip(key, packing.lowest, packing.strides))

    assert len({code(key) for key in keys}) == len(keys)
    assert all(0 <= code(key) < packing.span for key in keys)
    for key, direction in itertools.product(keys, range(3)):
        other = [value + 1 - 3 * (i == direction) for i, value in enumerate(key)]
        assert code(other) - code(key) == packing.steps[direction]
    with pytest.raises(UserError, match='too small'):
        pack_keys([0.0] * 5, [1e4] * 5)
    with pytest.raises(UserError, match='too small'):
        pack_keys([0.0] * 5, [150.0] * 5, num_images=2 ** 40)


def test_features():
    image = torch.arange(2 * 2 * 3 * 3, dtype=torch.uint8).view(2, 2, 3, 3)
    got = appearance_features(image, 2.0, 4.0)
    expected = [[x / 2, y / 2, *(image[b, y, x] / 4).tolist()] for b in range(2) for y in range(2) for x in range(3)]
    np.testing.assert_allclose(got.numpy(), expected)
    np.testing.assert_allclose(position_features((2, 3), 2.0).numpy(), np.array(expected)[:6, :2])


def devices():
    yield 'cpu'
    yield pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU'))


@pytest.mark.parametrize('device', devices())
def test_a_batch_equals_its_images(device):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 12, 10, 3), dtype=torch.uint8, generator=generator)
    energy = torch.rand(3, 4, 12, 10, generator=generator)
    energy[1, 2] = float('inf')  # this label does not compete in the second image
    parameters = dict(gaussian_sxy=2, gaussian_compat=3, bilateral_sxy=20, bilateral_srgb=30, bilateral_compat=5)
    got = ImageKernels(images.to(device), **parameters).mean_field(energy.to(device), 5).cpu()
    for image, one, result in zip(images, energy, got):
        expected = ImageKernels(image[None], **parameters).mean_field(one[None], 5)[0]
        torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-3)
    assert (got[1, 2] == 0).all()
    rows = [0, 1, 3]
    without = ImageKernels(images[1:2], **parameters).mean_field(energy[1:2, rows], 5)[0]
    torch.testing.assert_close(got[1, rows], without, atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match='of 3 images'):
        ImageKernels(images, **parameters).mean_field(energy[:2], 1)


def test_mean_field_by_hand():
    energy = torch.tensor([[0.0, 1.0], [2.0, 0.5]])
    kernel = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    q = torch.softmax(-energy, dim=1)
    expected = torch.softmax(-energy + 2 * kernel @ q + 3 * q, dim=1)
    terms = [(2.0, lambda values: kernel @ values), (3.0, lambda values: values)]
    torch.testing.assert_close(mean_field(energy, terms, 1), expected)
    torch.testing.assert_close(mean_field(energy, terms, 0), q)
    assert energy.tolist() == [[0.0, 1.0], [2.0, 0.5]]
