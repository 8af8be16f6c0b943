"""Colour jitter against PIL's own operations and colorsys; lighting against loops."""
import colorsys

import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets.transforms import ColorJitter, PCALighting, turn_hue
from mmwsss.utils.errors import UserError


def photo(seed=0, size=(12, 9)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def slow_jitter(rgb, changes):
    """The definitions, in float, one change after the other, rounded down as PIL does."""
    image = rgb.astype(np.float64)
    for name, amount in changes:
        if name == 'hue':
            image = np.asarray(turn_hue(Image.fromarray(image.astype(np.uint8)), amount)).astype(np.float64)
            continue
        grey = np.asarray(Image.fromarray(image.astype(np.uint8)).convert('L')).astype(np.float64)
        other = dict(brightness=np.zeros_like(grey), contrast=np.full_like(grey, int(grey.mean() + 0.5)),
                     saturation=grey)[name]
        image = np.floor((amount * image + (1 - amount) * other[..., None]).clip(0, 255))
    return image


@pytest.mark.parametrize('seed', range(4))
def test_jitter_equals_the_definitions(seed):
    transform, image = ColorJitter(), photo(seed)
    np.random.seed(seed)
    result = transform({'img': image.copy()})['img']
    np.random.seed(seed)
    changes = transform._random_changes()
    assert result.dtype == np.uint8 and result.flags.c_contiguous
    assert np.abs(result[..., ::-1] - slow_jitter(image[..., ::-1], changes)).max() <= 2
    assert (result != image).any()


def test_every_change_is_drawn_for_every_image_in_any_order():
    np.random.seed(0)
    transform = ColorJitter(0.3, 0.2, 0.1, 0.05)
    drawn = [transform._random_changes() for _ in range(400)]
    assert all(sorted(name for name, _ in changes) == ['brightness', 'contrast', 'hue', 'saturation']
               for changes in drawn)
    assert len({tuple(name for name, _ in changes) for changes in drawn}) == 24
    for name, low, high in (('brightness', 0.7, 1.3), ('contrast', 0.8, 1.2), ('saturation', 0.9, 1.1),
                            ('hue', -0.05, 0.05)):
        amounts = [dict(changes)[name] for changes in drawn]
        edge = (high - low) / 50
        assert low <= min(amounts) < low + edge and high - edge < max(amounts) <= high


@pytest.mark.parametrize('fraction', [0.1, -0.1, 0.5])
def test_hue_turns_as_colorsys_says(fraction):
    rgb = photo(3)
    turned = np.asarray(turn_hue(Image.fromarray(rgb), fraction)).astype(float)
    expected = np.zeros(rgb.shape)
    for at in np.ndindex(rgb.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(rgb[at] / 255))
        expected[at] = colorsys.hsv_to_rgb((hue + int(fraction * 255) / 256) % 1, saturation, value)
    # PIL keeps 256 hues.
    assert np.abs(turned - 255 * expected).max() < 12 and np.abs(turned - 255 * expected).mean() < 2


def test_no_change():
    image = photo()
    jittered = ColorJitter(0, 0, 0, 0)({'img': image.copy()})['img'].astype(int)
    assert np.abs(jittered - image).max() < 10  # there and back through 256 hues
    np.testing.assert_array_equal(PCALighting(std=0)({'img': image.copy()})['img'], image)


def test_lighting_equals_the_definition():
    transform, image = PCALighting(std=0.5), photo(1)
    np.random.seed(0)
    result = transform({'img': image.copy()})['img']
    np.random.seed(0)
    amounts = np.random.normal(0, 0.5, 3)
    for channel in range(3):  # R, G, B
        shift = sum(transform.eigenvectors[channel][i] * amounts[i] * transform.eigenvalues[i] for i in range(3)) * 255
        expected = np.round(image[..., 2 - channel] + shift).clip(0, 255)
        np.testing.assert_array_equal(result[..., 2 - channel], expected)
        assert abs(shift) > 1


@pytest.mark.parametrize('transform', [ColorJitter(), PCALighting()])
def test_bad_images(transform):
    for image in (photo().astype(np.float32), photo()[..., 0]):
        with pytest.raises(UserError, match='three channels in 8 bits'):
            transform({'img': image})


@pytest.mark.parametrize('options', [dict(brightness=-0.1), dict(hue=0.6)])
def test_bad_options(options):
    with pytest.raises(ValueError, match='ColorJitter'):
        ColorJitter(**options)
    with pytest.raises(ValueError, match='PCALighting'):
        PCALighting(std=-1)
