import pytest
import torch
from saliency_loops import IGNORE, SHAPES, batch, slow_class_tau, slow_tau

from mmwsss.models.losses import background_conflict, class_conflict


@pytest.mark.parametrize('shape', SHAPES)
def test_temperature_equals_loops(shape):
    for seed in range(3):
        _, saliency, labels = batch(shape, seed)
        tau = background_conflict(labels, saliency, IGNORE)
        assert tau.shape == shape[:1] and tau.dtype == torch.float32
        assert tau.tolist() == pytest.approx([slow_tau(*pair) for pair in zip(labels, saliency)])
        together = background_conflict(labels, saliency, IGNORE, per_image=False)
        assert together.shape == () and together.item() == pytest.approx(slow_tau(labels, saliency))


def test_temperature_by_hand():
    labels = torch.tensor([[0, 0, 0, 3], [0, 0, 0, 0], [0, 0, 5, 5], [1, 2, 3, 4], [255, 255, 255, 255]])
    saliency = torch.tensor([[0, 0, 1, 1], [0, 0, 0.49, 0], [0.5, 1, 0, 0], [1, 1, 0.5, 1], [0, 1, 0, 1]])
    # Background 2/3 and the rest 1/2; nothing but background; the opposite; nothing but objects; nothing.
    expected = [(2 / 3 + 1 / 2) / 2, 1, 0, 1, 0]
    assert background_conflict(labels[:, None], saliency[:, None]).tolist() == pytest.approx(expected)
    # Background 2 + 4 + 0 of 3 + 4 + 4, the rest 1 + 4 of 2 + 4 + 4.
    together = background_conflict(labels[:, None], saliency[:, None], per_image=False)
    assert together.item() == pytest.approx((6 / 11 + 5 / 10) / 2)


@pytest.mark.parametrize('shape', SHAPES)
def test_temperatures_of_classes_equal_loops(shape):
    _, saliency, labels = batch(shape, seed=8)
    missed = labels == shape[1] - 1
    saliency[missed] *= 0.4
    found = class_conflict(labels, saliency, background_conflict(labels, saliency), shape[1])
    assert found.dtype == torch.float32 and not found[missed].any()
    torch.testing.assert_close(found, torch.stack([slow_class_tau(*image) for image in zip(labels, saliency)]))


def test_temperatures_of_classes_by_hand():
    labels = torch.tensor([[[0, 1, 1, 1, 1, 2, 255], [1, 1, 0, 0, 0, 0, 0]]])
    saliency = torch.tensor([[[1, 1, 0.5, 0.4, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0.0]]])
    # Of class 1 half is salient, of class 2 nothing.
    found = class_conflict(labels, saliency, torch.tensor([0.7]), num_classes=4)
    expected = torch.tensor([[[.7, .5, .5, .5, .5, 0, .7], [.5, .5, .7, .7, .7, .7, .7]]])
    torch.testing.assert_close(found, expected)
    # An image that agrees less has its own.
    found = class_conflict(labels, saliency, torch.tensor([0.3]), num_classes=3)
    assert found.unique().tolist() == pytest.approx([0, .3])
