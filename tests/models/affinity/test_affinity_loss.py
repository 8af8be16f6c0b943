from pathlib import Path

import affinity_reference as slow
import numpy as np
import pytest
import torch

from mmwsss.models.affinity.affinity_loss import AffinityLoss, affinity_losses, sort_pairs
from mmwsss.models.affinity.pixel_pairs import edge_affinity, feature_affinity, half_disc_offsets
from mmwsss.registry import MODELS

ORACLES = Path(__file__).parents[3] / '../shared/oracles'
CASES = [((1, 1, 1), 2), ((2, 5, 4), 2), ((2, 7, 6), 3), ((1, 4, 9), 4), ((3, 2, 3), 3)]


def planes(labels, offsets, seed=1):
    return slow.random(len(labels), len(offsets), *labels.shape[1:], seed=seed).sigmoid()


@pytest.mark.parametrize('shape, radius', CASES)
@pytest.mark.parametrize('border', ['all', 'crop'])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_kinds_of_pairs_equal_loops(shape, radius, border, dtype):
    labels, offsets = slow.random_labels(*shape, seed=radius), half_disc_offsets(radius)
    expected = dict.fromkeys(('bg', 'fg', 'neg'), 0)
    masks = {kind: torch.zeros(shape[0], len(offsets), *shape[1:], dtype=torch.bool) for kind in expected}
    for kind, n, p, (y, x), _ in slow.pairs(labels, offsets, border):
        masks[kind][n, p, y, x] = True
    found = sort_pairs(labels.to(dtype), offsets, border)
    assert found._fields == ('background', 'foreground', 'negative')
    assert all(torch.equal(mask, masks[kind]) for mask, kind in zip(found, ('bg', 'fg', 'neg')))


@pytest.mark.parametrize('shape, radius', CASES)
@pytest.mark.parametrize('border', ['all', 'crop'])
def test_equals_loops_forward_and_backward(shape, radius, border):
    labels, offsets = slow.random_labels(*shape, seed=radius), half_disc_offsets(radius)
    affinity = planes(labels, offsets).requires_grad_()
    expected = slow.affinity_terms(affinity, labels, offsets, border)
    found = affinity_losses(affinity, sort_pairs(labels, offsets, border))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    weights = (0.3, 0.5, 0.9)
    gradient = torch.autograd.grad(sum(w * term for w, term in zip(weights, found)), affinity)[0]
    total = sum(w * term for w, term in zip(weights, expected))
    expected = torch.autograd.grad(total, affinity)[0] if total.requires_grad else torch.zeros_like(affinity)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


def test_of_features_and_of_edges_equals_loops():
    labels, offsets = slow.random_labels(2, 5, 6), half_disc_offsets(3)
    features, edge = slow.random(2, 4, 5, 6).requires_grad_(), slow.random(2, 1, 5, 6).sigmoid().requires_grad_()
    for values, fast, function in ((features, feature_affinity, slow.feature_affinity),
                                   (edge, edge_affinity, slow.edge_affinity)):
        loss = sum(AffinityLoss()(fast(values, offsets), sort_pairs(labels, offsets)).values())
        expected = slow.affinity_loss(function(values), labels, offsets)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
        gradients = [torch.autograd.grad(x, values)[0] for x in (loss, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('label, nonzero', [
    ([[255, 255], [255, 255]], ''), ([[0, 0], [0, 255]], 'bg'), ([[7, 7], [255, 255]], 'fg'),
    ([[0, 3], [255, 255]], 'neg')])
def test_kind_without_pairs_is_zero(label, nonzero):
    labels, offsets = torch.tensor([label]), half_disc_offsets(2)
    affinity = torch.zeros(1, len(offsets), 2, 2).requires_grad_()  # where the logarithm is steepest
    losses = AffinityLoss()(1 - affinity if nonzero == 'neg' else affinity, sort_pairs(labels, offsets))
    for name, loss in losses.items():
        assert (loss > 0) == (nonzero != '' and name.endswith(nonzero)), name
    sum(losses.values()).backward()
    assert affinity.grad.isfinite().all() and (affinity.grad != 0).any() == bool(nonzero)


def test_map_without_offsets():
    affinity = torch.ones(2, 0, 3, 3, requires_grad=True)
    loss = sum(AffinityLoss()(affinity, sort_pairs(torch.zeros(2, 3, 3), ())).values())
    loss.backward()
    assert loss == 0 and affinity.grad.shape == affinity.shape


def test_weights():
    labels, offsets = slow.random_labels(2, 6, 6), half_disc_offsets(3)
    affinity, kinds = planes(labels, offsets), sort_pairs(labels, offsets)
    background, foreground, negative = affinity_losses(affinity, kinds)
    loss = MODELS.build(dict(type='AffinityLoss', loss_weight=3.0))(affinity, kinds)
    assert loss['loss_affinity_bg'] == 3 * background / 4 and loss['loss_affinity_fg'] == 3 * foreground / 4
    assert loss['loss_affinity_neg'] == 3 * negative / 2 and len(loss) == 3


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full(dtype):
    labels, offsets = slow.random_labels(2, 6, 6), half_disc_offsets(3)
    affinity = planes(labels, offsets).to(dtype)
    affinity[..., 0] = 1
    found, expected = (affinity_losses(x, sort_pairs(labels, offsets)) for x in (affinity, affinity.double()))
    for one, other in zip(found, expected):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=0)


@pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
@pytest.mark.parametrize('radius', [5, 10])
def test_original(radius):
    with np.load(ORACLES / f'irn_loss_r{radius}.npz', allow_pickle=False) as file:
        expected = {key: torch.from_numpy(file[key]) for key in file.files}
    edge, offsets = expected['edge'].requires_grad_(), half_disc_offsets(radius)
    affinity = edge_affinity(edge, offsets)
    background, foreground, negative = affinity_losses(affinity, sort_pairs(expected['label'], offsets, 'crop'))
    torch.testing.assert_close((background + foreground) / 2, expected['pos'], rtol=1e-5, atol=0)
    torch.testing.assert_close(negative, expected['neg'], rtol=1e-5, atol=0)
    loss = sum(AffinityLoss()(affinity, sort_pairs(expected['label'], offsets, 'crop')).values())
    torch.testing.assert_close(loss, expected['total'] - (expected['dp_fg'] + expected['dp_bg']) / 2, rtol=1e-5, atol=0)
    gradient, theirs = torch.autograd.grad(loss, edge)[0], expected['grad_edge']
    assert (gradient - theirs).abs().max() <= 1e-4 * theirs.abs().max()
