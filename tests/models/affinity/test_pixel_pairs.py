import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from mmwsss.models.affinity.pixel_pairs import (
    clipped_radius,
    edge_affinity,
    feature_affinity,
    half_disc_offsets,
    lattice_path,
    pair_mask,
    pair_windows,
    path_parts,
)

ORACLES = Path(__file__).parents[2] / '../shared/oracles'
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
SIZES = [(1, 1), (1, 6), (5, 1), (3, 7), (4, 4), (13, 11)]


def load(name):
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(ORACLES / f'{name}.npz').items()}


def is_near_segment(point, end):
    """Whether a point is less than 1 away from the segment from (0, 0) to ``end``, in exact arithmetic."""
    y, x = point
    dy, dx = end
    nearest = min(max(Fraction(y * dy + x * dx, dy * dy + dx * dx), 0), 1)
    return (y - nearest * dy) ** 2 + (x - nearest * dx) ** 2 < 1


def loop_planes(value, count, size, offsets):
    """Planes from value(n, first end, second end), pair by pair."""
    height, width = size
    planes = np.zeros((count, len(offsets), height, width))
    for n in range(count):
        for p, (dy, dx) in enumerate(offsets):
            for y in range(height):
                for x in range(width):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        planes[n, p, y, x] = value(n, (y, x), (y + dy, x + dx))
    return torch.from_numpy(planes)


def loop_edge_affinity(edge, offsets):
    values = edge.double().numpy()
    paths = {offset: lattice_path(offset) for offset in offsets}

    def value(n, first, second):
        path = paths[second[0] - first[0], second[1] - first[1]]
        return 1 - max(values[n, 0, first[0] + y, first[1] + x] for y, x in path)

    return loop_planes(value, len(edge), edge.shape[-2:], offsets)


def graph_edge_affinity(edge, offsets):
    """By autograd through the largest of the stacked pixels of every path."""
    planes = torch.zeros(len(edge), len(offsets), *edge.shape[-2:], dtype=edge.dtype)
    for p, offset in enumerate(offsets):
        (rows, columns), _ = pair_windows(edge.shape[-2:], offset)
        moved = [edge[:, 0, rows.start + y:rows.stop + y, columns.start + x:columns.stop + x]
                 for y, x in lattice_path(offset)]
        planes[:, p, rows, columns] = 1 - torch.stack(moved).max(dim=0).values
    return planes


@pytest.mark.parametrize(('radius', 'count'), [(0, 0), (1, 0), (2, 4), (5, 34), (10, 152)])
def test_half_disc_holds_every_pair_once(radius, count):
    offsets = half_disc_offsets(radius)
    assert len(offsets) == count and list(offsets) == sorted(offsets)
    both_ways = {*offsets, *((-dy, -dx) for dy, dx in offsets)}
    assert len(both_ways) == 2 * count
    near = range(-radius, radius + 1)
    assert both_ways == {(dy, dx) for dy in near for dx in near if 0 < dy * dy + dx * dx < radius * radius}
    assert all(dy > 0 or (dy == 0 and dx > 0) for dy, dx in offsets)


def test_half_disc_of_negative_radius():
    with pytest.raises(ValueError, match='half_disc_offsets'):
        half_disc_offsets(-1)


@needs_oracles
@pytest.mark.parametrize('radius', [5, 10])
def test_half_disc_and_paths_are_those_of_irnet(radius):
    # IRNet's code groups the offsets by the number of pixels on their path.
    theirs = [tuple(offset) for offset in load(f'irn_loss_r{radius}')['offsets'].tolist()]
    assert theirs == sorted(half_disc_offsets(radius), key=lambda offset: (len(lattice_path(offset)), offset))


@pytest.mark.parametrize(('size', 'radius'), [((11, 30), 5), ((40, 10), 4), ((9, 9), 4), ((8, 20), 3), ((3, 4), 1),
                                              ((2, 2), 0), ((1, 50), 0)])
def test_radius_on_small_maps(size, radius):
    assert clipped_radius(5, size) == radius


@pytest.mark.parametrize('radius', [2, 5, 10])
def test_path_is_near_the_segment(radius):
    around = range(-radius - 1, radius + 2)
    for offset in half_disc_offsets(radius):
        path = lattice_path(offset)
        assert len(set(path)) == len(path) and {(0, 0), offset} <= set(path)
        if radius < 10 or offset in ((9, 3), (4, -7), (1, 8)):
            assert set(path) == {(y, x) for y in around for x in around if is_near_segment((y, x), offset)}


@pytest.mark.parametrize('size', SIZES)
def test_windows_and_masks_are_the_pairs(size):
    offsets, (height, width) = half_disc_offsets(4), size
    inside = loop_planes(lambda *_: 1, 1, size, offsets)[0].bool()
    assert torch.equal(pair_mask(size, offsets), inside)
    numbers = torch.arange(height * width).view(size)
    for p, (dy, dx) in enumerate(offsets):
        first, second = pair_windows(size, (dy, dx))
        assert torch.equal(numbers[first].flatten(), inside[p].flatten().nonzero().flatten())
        assert torch.equal(numbers[second].flatten(), numbers[first].flatten() + dy * width + dx)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    cropped = pair_mask(size, offsets, 'crop')
    assert torch.equal(cropped, ((y < height - 3) & (x >= 3) & (x < width - 3)).expand_as(cropped))
    assert not (cropped & ~inside).any()


def test_mask_of_no_offsets_and_unknown_border():
    assert pair_mask((3, 4), (), 'crop').shape == (0, 3, 4)
    with pytest.raises(ValueError, match="'all', 'crop'"):
        pair_mask((3, 4), ((0, 1),), 'wrap')


@needs_oracles
def test_cropped_pairs_are_those_of_affinitynet():
    oracle, (height, width), offsets = load('aff_net'), (12, 14), half_disc_offsets(5)
    mask = pair_mask((height, width), offsets, 'crop')
    for p, (dy, dx) in enumerate(offsets):
        first = mask[p].flatten().nonzero().flatten()
        assert torch.equal(oracle['affinity'][first, first + dy * width + dx], oracle['pairs'][0, p])


@pytest.mark.parametrize('size', SIZES)
def test_feature_affinity_is_its_formula(size):
    features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    offsets = half_disc_offsets(4)
    values = features.numpy()
    expected = loop_planes(lambda n, i, j: np.exp(-abs(values[n, :, i[0], i[1]] - values[n, :, j[0], j[1]]).mean()),
                           2, size, offsets)
    torch.testing.assert_close(feature_affinity(features, offsets), expected)
    torch.testing.assert_close(feature_affinity(features.float(), list(offsets)), expected.float())


def test_gradient_of_feature_affinity():
    features = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: feature_affinity(f, half_disc_offsets(3)), features)


def test_features_that_are_equal_have_no_gradient():
    features = torch.ones(1, 2, 3, 3, requires_grad=True)
    feature_affinity(features, half_disc_offsets(3)).sum().backward()
    assert not features.grad.any()


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('radius', [2, 5])
def test_edge_affinity_is_the_largest_edge_of_the_path(size, radius):
    edge = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(2))
    offsets = half_disc_offsets(radius)
    affinity = edge_affinity(edge, offsets)
    torch.testing.assert_close(affinity, loop_edge_affinity(edge, offsets).float())
    assert not affinity[:, ~pair_mask(size, offsets)].any()


@pytest.mark.parametrize('radius', [5, 10])
def test_edge_affinity_and_its_gradient_are_those_of_stacked_paths(radius):
    generator = torch.Generator().manual_seed(3)
    offsets = half_disc_offsets(radius)
    edge = torch.rand(2, 1, 13, 16, generator=generator, dtype=torch.float64)
    weight = torch.randn(2, len(offsets), 13, 16, generator=generator, dtype=torch.float64)
    results = []
    for function in (edge_affinity, graph_edge_affinity):
        leaf = edge.clone().requires_grad_()
        affinity = function(leaf, offsets)
        (affinity * weight).sum().backward()
        results.append((affinity, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    assert results[0][1].abs().max() > 1


def test_gradcheck_of_edge_affinity():
    values = torch.randperm(24, generator=torch.Generator().manual_seed(4)).double() / 24
    edge = values.view(2, 1, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: edge_affinity(e, half_disc_offsets(3)), edge)


def test_one_of_equal_edges_gets_the_gradient():
    edge = torch.full((1, 1, 9, 8), 0.5, requires_grad=True)
    offsets = half_disc_offsets(5)
    affinity = edge_affinity(edge, offsets)
    affinity.sum().backward()
    assert edge.grad.sum() == -pair_mask((9, 8), offsets).sum()
    assert torch.equal(edge.grad, edge.grad.round())


def test_incoming_gradient_outside_of_the_map_is_dropped_and_not_changed():
    edge = torch.rand(1, 1, 4, 5, requires_grad=True)
    offsets = half_disc_offsets(3)
    gradient = torch.where(pair_mask((4, 5), offsets), 0., float('nan'))[None]
    before = gradient.clone()
    edge_affinity(edge, offsets).backward(gradient)
    assert not edge.grad.any()
    torch.testing.assert_close(gradient, before, equal_nan=True)


def test_offsets_in_any_order_and_number():
    edge = torch.rand(1, 1, 9, 12, generator=torch.Generator().manual_seed(5))
    offsets = list(half_disc_offsets(6))
    expected = dict(zip(offsets, edge_affinity(edge, offsets)[0]))
    random.Random(0).shuffle(offsets)
    for chosen in (offsets, [(4, -3), (2, 5)], [(0, -4), (-3, 2)], []):
        planes = edge_affinity(edge, chosen)
        assert planes.shape == (1, len(chosen), 9, 12)
        torch.testing.assert_close(planes.double(), loop_edge_affinity(edge, chosen))
    for offset, plane in zip(offsets, edge_affinity(edge, offsets)[0]):
        assert torch.equal(plane, expected[offset])


@pytest.mark.parametrize(('radius', 'count'), [(2, 7), (5, 63), (10, 325)])
def test_parts_of_a_path_make_it_up(radius, count):
    offsets = half_disc_offsets(radius)
    plan, known = path_parts(offsets), {None: {(0, 0)}}
    for p, parts in plan:
        known[p] = {(y + dy, x + dx) for q, (dy, dx) in parts for y, x in known[q]}
        assert known[p] == set(lattice_path(offsets[p]))
    assert sorted(p for p, _ in plan) == list(range(len(offsets)))
    assert sum(len(parts) for _, parts in plan) <= count


def test_low_precision_is_computed_in_float32():
    generator = torch.Generator().manual_seed(6)
    edge = torch.rand(1, 1, 6, 7, generator=generator).bfloat16().requires_grad_()
    features = torch.rand(1, 8, 6, 7, generator=generator).bfloat16()
    offsets = half_disc_offsets(3)
    affinity = edge_affinity(edge, offsets)
    assert affinity.dtype == torch.float32
    assert torch.equal(affinity, edge_affinity(edge.float(), offsets))
    affinity.sum().backward()
    assert edge.grad.dtype == torch.bfloat16
    expected = feature_affinity(features.float(), offsets)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(feature_affinity(features, offsets), expected)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match='feature_affinity'):
        feature_affinity(torch.rand(3, 4, 5), half_disc_offsets(2))
    for edge in (torch.rand(1, 4, 5), torch.rand(1, 2, 4, 5)):
        with pytest.raises(ValueError, match='N x 1 x h x w'):
            edge_affinity(edge, half_disc_offsets(2))
    for offsets in (((0, 1), (0, 1)), ((0, 0), (0, 1))):
        with pytest.raises(ValueError, match='different'):
            edge_affinity(torch.rand(1, 1, 4, 5), offsets)


@needs_oracles
@pytest.mark.parametrize('radius', [5, 10])
def test_affinities_and_gradients_are_those_of_irnet(radius):
    oracle = load(f'irn_loss_r{radius}')
    offsets = [tuple(offset) for offset in oracle['offsets'].tolist()]
    edge, label = oracle['edge'].requires_grad_(), oracle['label']
    affinity = edge_affinity(edge, offsets)
    used = pair_mask(edge.shape[-2:], offsets, 'crop')
    mean = torch.stack([affinity[:, p][:, mask].mean() for p, mask in enumerate(used)])
    torch.testing.assert_close(mean.detach(), oracle['affinity_mean_per_offset'], rtol=1e-4, atol=0)

    partner = torch.full_like(affinity, 255, dtype=torch.long)
    for p, offset in enumerate(offsets):
        first, second = pair_windows(edge.shape[-2:], offset)
        partner[:, p][:, first[0], first[1]] = label[:, second[0], second[1]]
    own = label[:, None].expand_as(partner)
    valid = used & (own != 255) & (partner != 255)
    same, close = valid & (own == partner), -torch.log(affinity + 1e-5)
    apart = -torch.log(1 + 1e-5 - affinity)
    positive = (close[same & (own == 0)].mean() + close[same & (own != 0)].mean()) / 2
    negative = apart[valid & (own != partner)].mean()
    torch.testing.assert_close(positive, oracle['pos'], rtol=1e-4, atol=0)
    torch.testing.assert_close(negative, oracle['neg'], rtol=1e-4, atol=0)
    gradient, = torch.autograd.grad((positive + negative) / 2, edge)
    torch.testing.assert_close(gradient, oracle['grad_edge'], rtol=1e-4, atol=1e-7)
