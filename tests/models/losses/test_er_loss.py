import pytest
import torch
from seam_reference import random

from mmwsss.models.losses import ERLoss
from mmwsss.models.losses.er_loss import equivariant_regularization
from mmwsss.registry import MODELS


@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (2, 3, 4, 5), (3, 8, 2, 7)])
def test_equals_the_mean_over_every_entry(shape):
    one, two = (random(*shape, seed=s).requires_grad_() for s in (1, 2))
    total, count = 0.0, 0
    for a, b in zip(one.flatten().tolist(), two.flatten().tolist()):
        total, count = total + abs(a - b), count + 1
    loss = equivariant_regularization(one, two)
    assert loss.item() == pytest.approx(total / count, rel=1e-5)
    for gradient, sign in zip(torch.autograd.grad(loss, (one, two)), (1, -1)):
        torch.testing.assert_close(gradient, sign * torch.sign(one - two).detach() / count)


def test_maps_of_absent_classes_count():
    one, two = torch.rand(2, 1, 4, 5), torch.rand(2, 1, 4, 5)
    empty = torch.zeros(2, 3, 4, 5)
    loss = equivariant_regularization(torch.cat([one, empty], dim=1), torch.cat([two, empty], dim=1))
    torch.testing.assert_close(loss, equivariant_regularization(one, two) / 4)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_averaged_in_full(dtype):
    one = torch.full((1, 1, 300, 300), 0.75, dtype=dtype)  # a sum of 67,500 is beyond float16
    loss = equivariant_regularization(one, torch.zeros_like(one))
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(0.75, rel=1e-5)


def test_weight():
    one, two = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 3, 4)
    loss = MODELS.build(dict(type='ERLoss', loss_weight=0.25))
    assert isinstance(loss, ERLoss)
    torch.testing.assert_close(loss(one, two), equivariant_regularization(one, two) / 4)
    assert ERLoss()(one, two) == equivariant_regularization(one, two)
