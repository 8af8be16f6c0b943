import math

import pytest
import seam_reference as slow
import torch
from seam_reference import random

from mmwsss.models.losses import ECRLoss
from mmwsss.models.losses.ecr_loss import equivariant_cross_regularization, keep_highest_foreground
from mmwsss.registry import MODELS

SHAPES = [(1, 2, 1, 3), (2, 4, 3, 5), (3, 6, 4, 2)]


def maps(shape, seed):
    return random(*shape, seed=seed).sigmoid()


@pytest.mark.parametrize('shape', [(1, 2, 1, 1), *SHAPES])
def test_highest_foreground_equals_loops(shape):
    cam = maps(shape, 0)
    cam[0, :, 0, 0] = 0  # no activation at all
    torch.testing.assert_close(keep_highest_foreground(cam), slow.onehot_max(cam))


def test_background_stays_where_a_class_is_higher_and_values_stay():
    cam = torch.tensor([0.1, 0.9, 0.3]).view(1, 3, 1, 1)
    assert keep_highest_foreground(cam).flatten().tolist() == pytest.approx([0.1, 0.9, 0.0])
    cam = torch.tensor([0.9, 0.1, 0.05]).view(1, 3, 1, 1)
    assert keep_highest_foreground(cam).flatten().tolist() == pytest.approx([0.9, 0.1, 0.0])


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('hard_ratio', [0.2, 0.5, 1.0])
def test_equals_loops_forward_and_backward(shape, hard_ratio):
    if hard_ratio * math.prod(shape[1:]) < 1:
        hard_ratio = 1 / math.prod(shape[1:])
    cam, revised = maps(shape, 1), maps(shape, 2).requires_grad_()
    expected = slow.ecr(cam, revised, hard_ratio)
    loss = equivariant_cross_regularization(cam, revised, hard_ratio)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, revised)[0] for x in (loss, expected)), rtol=1e-5, atol=1e-7)


def test_no_gradient_into_the_cam():
    cam, revised = maps((2, 3, 4, 5), 1).requires_grad_(), maps((2, 3, 4, 5), 2).requires_grad_()
    loss = equivariant_cross_regularization(cam, revised)
    assert torch.autograd.grad(loss, (cam, revised), allow_unused=True)[0] is None


def test_every_image_has_its_own_hard_entries():
    """Of 10 entries 2 count: the mean is over images, however easy one is."""
    revised = torch.zeros(2, 2, 1, 5)
    cam = torch.zeros(2, 2, 1, 5)
    cam[0, 0, 0] = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2])
    cam[1, 0, 0] = torch.tensor([0.1, 0.0, 0.0, 0.3, 0.0])
    assert equivariant_cross_regularization(cam, revised).item() == pytest.approx((0.9 + 0.2) / 2)
    both = [equivariant_cross_regularization(cam[n:n + 1], revised[n:n + 1]).item() for n in range(2)]
    assert both == pytest.approx([0.9, 0.2])


@pytest.mark.parametrize(('size', 'count'), [((1, 1), 1), ((1, 2), 1), ((3, 3), 3), ((3, 5), 6), ((3, 8), 9)])
def test_number_of_hard_entries_is_rounded_down_but_at_least_one(size, count):
    """2 channels; ``k = floor(0.2 * 2 h w)``; entries are 1, 2, 3, ... from the hardest on."""
    entries = 2 * math.prod(size)
    revised = torch.arange(entries, 0, -1).float().view(1, 2, *size).requires_grad_()
    gradient, = torch.autograd.grad(equivariant_cross_regularization(torch.zeros(1, 2, *size), revised), revised)
    expected = [1 / count] * count + [0.0] * (entries - count)
    assert gradient.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_averaged_in_full(dtype):
    revised = torch.full((1, 2, 300, 300), 0.75, dtype=dtype)
    loss = equivariant_cross_regularization(torch.zeros_like(revised), revised)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(0.75, rel=1e-5)


def test_weight_and_ratio_of_the_module():
    cam, revised = maps((2, 3, 4, 5), 1), maps((2, 3, 4, 5), 2)
    loss = MODELS.build(dict(type='ECRLoss', hard_ratio=0.5, loss_weight=0.25))
    torch.testing.assert_close(loss(cam, revised), equivariant_cross_regularization(cam, revised, 0.5) / 4)
    assert ECRLoss()(cam, revised) == equivariant_cross_regularization(cam, revised, 0.2)


@pytest.mark.parametrize('hard_ratio', [0, -0.1, 1.1, math.nan])
def test_ratios_that_are_none(hard_ratio):
    with pytest.raises(ValueError, match='ECRLoss'):
        ECRLoss(hard_ratio=hard_ratio)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('detach', [True, False])
@pytest.mark.parametrize('unit', ['entries', 'pixels'])
def test_printed_forms_equal_loops_forward_and_backward(shape, unit, detach):
    ratio = max(0.5, 1 / math.prod(shape[2:]))
    cam, revised = maps(shape, 1).requires_grad_(), maps(shape, 2).requires_grad_()
    expected = slow.ecr(cam, revised, ratio, unit == 'pixels', detach)
    found = ECRLoss(ratio, hard_unit=unit, detach_cam=detach)(cam, revised)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    gradients = [torch.autograd.grad(loss, (cam, revised), allow_unused=True) for loss in (found, expected)]
    for one, two in zip(*gradients):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)
    assert (gradients[0][0] is None) == detach


def test_hard_pixels_are_whole_pixels():
    cam, revised = torch.zeros(1, 3, 1, 4), torch.zeros(1, 3, 1, 4).requires_grad_()
    cam[0, :2, 0, 2] = torch.tensor([0.9, 0.9])  # the hardest pixel, though not in every channel
    cam[0, 0, 0, 0] = 1.0
    loss = equivariant_cross_regularization(cam, revised, hard_ratio=0.25, hard_unit='pixels')
    assert loss.item() == pytest.approx(0.6)
    assert torch.autograd.grad(loss, revised)[0].abs().sum(dim=1).flatten().nonzero().tolist() == [[2]]


@pytest.mark.parametrize('unit', ['pixel', 'Entries', ''])
def test_unknown_unit_of_the_function(unit):
    with pytest.raises(ValueError, match=f'hard_unit is one of entries, pixels, got {unit!r}'):
        equivariant_cross_regularization(maps((1, 2, 3, 3), 0), maps((1, 2, 3, 3), 1), hard_unit=unit)


def test_unknown_unit():
    with pytest.raises(ValueError, match='hard_unit is one of entries, pixels'):
        ECRLoss(hard_unit='images')
