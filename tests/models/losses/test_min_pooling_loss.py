import math

import pytest
import seam_reference as slow
import torch
from seam_reference import random

from mmwsss.models.losses import MinPoolingLoss
from mmwsss.models.losses.min_pooling_loss import min_pooling
from mmwsss.registry import MODELS


@pytest.mark.parametrize('shape', [(1, 1, 2, 2), (2, 3, 4, 5), (3, 5, 2, 7)])
def test_equals_loops_forward_and_backward(shape):
    maps = (random(*shape) + 3).requires_grad_()
    expected, loss = slow.min_pool(maps), min_pooling(maps)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, maps)[0] for x in (loss, expected)), rtol=1e-5, atol=1e-7)
    assert loss > 0


def test_lowest_quarter_of_the_highest_class():
    maps = torch.tensor([[[9, 2, 7, 3, 8, 4, 6, 5.]], [[0, 1, 0, 0, 0, 0, 0, 0.]]]).view(1, 2, 2, 4).requires_grad_()
    loss = min_pooling(maps)  # two of eight pixels
    assert loss.item() == pytest.approx((2 + 3) / 2)
    loss.backward()
    assert maps.grad.flatten().nonzero().flatten().tolist() == [1, 3]


def test_pixels_below_zero_are_zero_and_pull_nothing():
    maps = torch.tensor([-5.0, -1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).view(1, 1, 2, 4).requires_grad_()
    loss = min_pooling(maps, ratio=0.5)
    assert loss.item() == pytest.approx((2 + 3) / 4)
    loss.backward()
    assert maps.grad.flatten().tolist() == pytest.approx([0, 0, 0.25, 0.25, 0, 0, 0, 0])


@pytest.mark.parametrize(('pixels', 'count'), [(1, 1), (3, 1), (7, 1), (8, 2), (11, 2), (12, 3)])
def test_number_of_pixels_is_rounded_down_but_at_least_one(pixels, count):
    maps = torch.arange(1.0, pixels + 1).view(1, 1, 1, pixels)
    assert min_pooling(maps).item() == pytest.approx(sum(range(1, count + 1)) / count)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_averaged_in_full(dtype):
    loss = min_pooling(torch.full((1, 2, 600, 600), 0.75, dtype=dtype))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(0.75, rel=1e-5)


def test_weight_and_ratio_of_the_module():
    maps = random(2, 3, 4, 5).abs().float()
    loss = MODELS.build(dict(type='MinPoolingLoss', ratio=0.5, loss_weight=3.0))
    torch.testing.assert_close(loss(maps), 3 * min_pooling(maps, 0.5))
    assert MinPoolingLoss()(maps) == min_pooling(maps, 0.25)


@pytest.mark.parametrize('ratio', [0, -0.1, 1.1, math.nan])
def test_ratios_that_are_none(ratio):
    with pytest.raises(ValueError, match='MinPoolingLoss'):
        MinPoolingLoss(ratio=ratio)
