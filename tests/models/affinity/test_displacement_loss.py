from pathlib import Path

import affinity_reference as slow
import numpy as np
import pytest
import torch

from mmwsss.models.affinity.affinity_loss import sort_pairs
from mmwsss.models.affinity.displacement_loss import DisplacementLoss, displacement_losses
from mmwsss.models.affinity.pixel_pairs import half_disc_offsets
from mmwsss.registry import MODELS

ORACLES = Path(__file__).parents[3] / '../shared/oracles'


@pytest.mark.parametrize('shape, radius', [((1, 1, 1), 2), ((2, 5, 4), 2), ((2, 7, 6), 3), ((1, 4, 9), 4)])
@pytest.mark.parametrize('border', ['all', 'crop'])
def test_equals_loops_forward_and_backward(shape, radius, border):
    labels, offsets = slow.random_labels(*shape, seed=radius), half_disc_offsets(radius)
    displacement = slow.random(shape[0], 2, *shape[1:]).mul_(3).requires_grad_()
    expected = slow.displacement_terms(displacement, labels, offsets, border)
    found = displacement_losses(displacement, offsets, sort_pairs(labels, offsets, border))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    gradient = torch.autograd.grad(found[0] + 2 * found[1], displacement)[0]
    total = expected[0] + 2 * expected[1]
    expected = torch.autograd.grad(total, displacement)[0] if total.requires_grad else torch.zeros_like(displacement)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


def test_field_that_points_at_the_centroid_has_no_loss():
    """And so has one that is off by a constant: the mean displacement is for that."""
    offsets, labels = half_disc_offsets(4), torch.full((1, 6, 8), 3)
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing='ij')
    field = torch.stack([2.5 - rows, 4.0 - columns])[None]
    for displacement in (field, field + torch.tensor([5.0, -2.0]).view(1, 2, 1, 1)):
        assert DisplacementLoss()(displacement, offsets, sort_pairs(labels, offsets)) == dict(
            loss_displacement_fg=0, loss_displacement_bg=0)
    assert DisplacementLoss()(-field, offsets, sort_pairs(labels, offsets))['loss_displacement_fg'] > 1
    background = DisplacementLoss()(torch.ones_like(field), offsets, sort_pairs(0 * labels, offsets))
    assert background['loss_displacement_bg'] == 0
    assert DisplacementLoss()(field, offsets, sort_pairs(0 * labels, offsets))['loss_displacement_bg'] > 0.5


@pytest.mark.parametrize('label, nonzero', [
    ([[255, 255], [255, 255]], ''), ([[1, 2], [255, 255]], ''), ([[0, 0], [0, 255]], 'bg'), ([[7, 7], [255, 1]], 'fg')])
def test_kind_without_pairs_is_zero(label, nonzero):
    displacement = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    offsets = half_disc_offsets(2)
    losses = DisplacementLoss()(displacement, offsets, sort_pairs(torch.tensor([label]), offsets))
    for name, loss in losses.items():
        assert (loss > 0) == (nonzero != '' and name.endswith(nonzero)), name
    sum(losses.values()).backward()  # hangs on the field in any case
    assert displacement.grad.isfinite().all() and (displacement.grad != 0).any() == bool(nonzero)


def test_weight_and_precision():
    labels, offsets = slow.random_labels(2, 6, 6), half_disc_offsets(3)
    displacement, kinds = slow.random(2, 2, 6, 6), sort_pairs(labels, offsets)
    foreground, background = displacement_losses(displacement, offsets, kinds)
    loss = MODELS.build(dict(type='DisplacementLoss', loss_weight=3.0))(displacement, offsets, kinds)
    assert loss == dict(loss_displacement_fg=3 * foreground / 2, loss_displacement_bg=3 * background / 2)
    half = displacement.bfloat16()
    assert displacement_losses(half, offsets, kinds) == displacement_losses(half.float(), offsets, kinds)


@pytest.mark.skipif(not ORACLES.is_dir(), reason='../shared/oracles is not there')
@pytest.mark.parametrize('radius', [5, 10])
def test_original(radius):
    with np.load(ORACLES / f'irn_loss_r{radius}.npz', allow_pickle=False) as file:
        expected = {key: torch.from_numpy(file[key]) for key in file.files}
    displacement, offsets = expected['displacement'].requires_grad_(), half_disc_offsets(radius)
    kinds = sort_pairs(expected['label'], offsets, 'crop')
    foreground, background = displacement_losses(displacement, offsets, kinds)
    torch.testing.assert_close(foreground, expected['dp_fg'], rtol=1e-5, atol=0)
    torch.testing.assert_close(background, expected['dp_bg'], rtol=1e-5, atol=0)
    loss = sum(DisplacementLoss()(displacement, offsets, kinds).values())
    gradient, theirs = torch.autograd.grad(loss, displacement)[0], expected['grad_displacement']
    assert (gradient - theirs).abs().max() <= 1e-5 * theirs.abs().max()
