import math

import pytest
import torch

from mmwsss.models.losses import RestrictedActivationLoss, activation_masks, restricted_activation


def slow_loss(maps, labels, background, gap):
    total, count = 0., 0
    for image, label in zip(maps.double(), labels.tolist()):
        _, height, width = image.shape
        variances = {}
        for y in range(height):
            for x in range(width):
                powers = [math.exp(v) for v in image[:, y, x].tolist()]
                shares = [p / sum(powers) for p in powers]
                mean = sum(shares) / len(shares)
                variances[y, x] = sum((s - mean) ** 2 for s in shares) / (len(shares) - 1)
        low, high = min(variances.values()), max(variances.values())
        for (y, x), variance in variances.items():
            variance = (variance - low) / (high - low)
            s = 1 / (1 + math.exp(-float(image[label, y, x])))
            total += s * (variance < background) + (1 - s) * (variance > background + gap)
            count += 1
    return total / count


@pytest.mark.parametrize('shape', [(1, 2, 3, 3), (3, 5, 4, 2), (2, 1000, 2, 3)])
def test_equals_loops(shape):
    generator = torch.Generator().manual_seed(0)
    maps = 3 * torch.randn(shape, generator=generator)
    labels = torch.randint(shape[1], (shape[0],), generator=generator)
    for background, gap in ((.2, .5), (.3, 0.)):
        expected = slow_loss(maps, labels, background, gap)
        assert restricted_activation(maps, labels, background, gap).item() == pytest.approx(expected, abs=1e-5)
    module = RestrictedActivationLoss(.3, 0., loss_weight=2.)
    assert module(maps, labels).item() == pytest.approx(2 * expected, abs=1e-5)


def test_gradient_goes_through_the_activation_alone():
    maps = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    restricted_activation(maps, torch.tensor([0, 2])).backward()
    other = torch.ones(2, 3, dtype=torch.bool)
    other[0, 0] = other[1, 2] = False
    assert not maps.grad[other].any() and maps.grad[~other].any()
    background, foreground = activation_masks(maps.detach(), .2, .5)
    chosen = maps.detach()[[0, 1], [0, 2]].sigmoid()
    expected = chosen * (1 - chosen) * (background.double() - foreground.double()) / 32
    torch.testing.assert_close(maps.grad[[0, 1], [0, 2]], expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize('function', [
    lambda maps: activation_masks(maps, .2, .5), lambda maps: restricted_activation(maps, torch.tensor([0])),
    lambda maps: RestrictedActivationLoss()(maps, torch.tensor([0]))])
def test_one_class_is_refused(function):
    with pytest.raises(ValueError, match='at least two'):
        function(torch.randn(1, 1, 4, 4))


def test_flat_maps_and_options():
    background, foreground = activation_masks(torch.zeros(1, 3, 2, 2), .2, .5)
    assert background.all() and not foreground.any()
    for background, gap in ((0, .5), (.5, .5), (.2, -.1)):
        with pytest.raises(ValueError, match='background in'):
            RestrictedActivationLoss(background, gap)
