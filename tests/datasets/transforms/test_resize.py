import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image

import mmwsss.datasets  # noqa: F401  (registers the transforms)
from mmwsss.datasets.transforms import RandomResizeLong, ScaleImage, scaled_size, size_for_long_side
from mmwsss.utils.errors import UserError


@pytest.mark.parametrize('size, long_side, expected', [
    ((100, 200), 50, (25, 50)), ((200, 100), 50, (50, 25)), ((100, 100), 37, (37, 37)),
    ((1, 1), 64, (64, 64)), ((1, 1000), 100, (1, 100)), ((1000, 1), 100, (100, 1)), ((3, 7), 7, (3, 7))])
def test_size_for_long_side(size, long_side, expected):
    assert size_for_long_side(*size, long_side) == expected


def test_long_side_takes_every_integer_of_the_range():
    transform = RandomResizeLong((5, 8))
    np.random.seed(0)
    seen = [transform({'img': np.zeros((6, 12, 3), np.uint8)})['img_shape'] for _ in range(200)]
    assert {size[1] for size in seen} == {5, 6, 7, 8}
    assert all(size == size_for_long_side(6, 12, size[1]) for size in seen)


def test_keys_and_interpolation():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = rng.choice([0, 3, 255], (20, 30)).astype(np.uint8)
    saliency = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    results = RandomResizeLong((45, 45))({'img': image, 'gt_seg_map': mask, 'gt_saliency': saliency,
                                          'seg_fields': ['gt_seg_map', 'gt_saliency']})
    np.testing.assert_array_equal(results['img'], cv2.resize(image, (45, 30), interpolation=cv2.INTER_LINEAR))
    np.testing.assert_array_equal(results['gt_seg_map'], cv2.resize(mask, (45, 30), interpolation=cv2.INTER_NEAREST))
    np.testing.assert_array_equal(results['gt_saliency'],
                                  cv2.resize(saliency, (45, 30), interpolation=cv2.INTER_LINEAR))
    assert results['img_shape'] == (30, 45) and results['scale'] == (45, 30)
    assert results['scale_factor'] == (1.5, 1.5) and results['keep_ratio'] is True
    assert set(np.unique(results['gt_seg_map'])) <= {0, 3, 255}


def test_interpolation_of_the_image():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    results = RandomResizeLong((15, 15), interpolation='area')({'img': image})
    np.testing.assert_array_equal(results['img'], cv2.resize(image, (15, 10), interpolation=cv2.INTER_AREA))


def test_image_of_one_pixel():
    results = RandomResizeLong((7, 7))({'img': np.full((1, 1, 3), 9, np.uint8), 'seg_fields': ['gt_saliency'],
                                        'gt_saliency': np.full((1, 1), 5, np.uint8)})
    assert (results['img'] == 9).all() and results['img'].shape == (7, 7, 3)
    assert (results['gt_saliency'] == 5).all() and results['gt_saliency'].shape == (7, 7)


@pytest.mark.parametrize('long_side', [(0, 5), (6, 5), (5,), (5.0, 6), (-3, 4), (1, 2, 3)])
def test_bad_range(long_side):
    with pytest.raises(UserError, match='long_side must be'):
        RandomResizeLong(long_side)


def test_list_from_the_command_line():
    assert RandomResizeLong([4, 4])({'img': np.zeros((8, 8, 3), np.uint8)})['img_shape'] == (4, 4)


@pytest.mark.parametrize('seed', range(6))
def test_image_mask_and_saliency_stay_aligned(seed):
    """All three show one smooth picture; after resize, crop and flip they must still show the same."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 90, 2)
    picture = cv2.resize(rng.random((4, 5), np.float32), (int(width), int(height)), interpolation=cv2.INTER_CUBIC)
    picture = (picture.clip(0, 1) * 250).astype(np.uint8)
    pipeline = Compose([dict(type='RandomResizeLong', long_side=(70, 160)),
                        dict(type='RandomCrop', crop_size=(50, 40)),
                        dict(type='RandomFlip', prob=0.6, direction=['horizontal', 'vertical'])])
    np.random.seed(seed)
    results = pipeline({'img': np.stack([picture] * 3, -1), 'gt_seg_map': picture.copy(), 'gt_saliency': picture.copy(),
                        'seg_fields': ['gt_seg_map', 'gt_saliency']})
    image = results['img'][..., 0].astype(int)
    assert image.shape == results['gt_seg_map'].shape == results['gt_saliency'].shape == results['img_shape']
    assert image.max() - image.min() > 60  # there is something to be aligned
    np.testing.assert_array_equal(results['gt_saliency'], image)
    assert np.abs(results['gt_seg_map'] - image).mean() < 4  # nearest against bilinear: half a pixel
    assert np.abs(results['gt_seg_map'][:, ::-1] - image).mean() > 8


@pytest.mark.parametrize('size, factor, expected', [
    ((375, 500), 0.75, (281, 375)), ((1, 1), 0.25, (1, 1)), ((1, 101), 0.25, (1, 25)), ((7, 5), 1.25, (9, 6)),
    ((3, 4), 1, (3, 4))])
def test_scaled_size(size, factor, expected):
    assert scaled_size(*size, factor) == expected


@pytest.mark.parametrize('size, factor', [((20, 30), 0.5), ((21, 33), 1.25), ((1, 1), 0.25), ((1, 40), 0.25)])
def test_scale_image_leaves_the_maps_alone(size, factor):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, np.uint8)
    results = ScaleImage(factor)({'img': image, 'ori_shape': size, 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']})
    height, width = scaled_size(*size, factor)
    np.testing.assert_array_equal(results['img'], cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
    assert results['img_shape'] == (height, width) and results['ori_shape'] == size
    assert results['scale_factor'] == (width / size[1], height / size[0]) and results['gt_seg_map'] is mask


def test_scale_of_one_is_the_image_itself():
    image = np.ones((4, 5, 3), np.uint8)
    assert ScaleImage(1.0)({'img': image})['img'] is image


@pytest.mark.parametrize('factor', [0, -1, 'half', float('inf')])
def test_bad_factor(factor):
    with pytest.raises(ValueError, match='ScaleImage: factor'):
        ScaleImage(factor)


@pytest.mark.parametrize('long_side', [15, 47])
def test_bicubic_as_the_released_codes_have_it(long_side):
    """PIL's filter, which smooths when the image gets smaller; maps stay as they are resized otherwise."""
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), rng.choice([0, 3], (20, 30)).astype(np.uint8)
    results = RandomResizeLong((long_side, long_side), interpolation='bicubic', backend='pillow')(
        {'img': image, 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']})
    size = results['scale']
    rgb = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    expected = np.asarray(rgb.resize(size, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(results['img'], expected[..., ::-1])
    np.testing.assert_array_equal(results['gt_seg_map'], cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST))
