import importlib.util

import numpy as np
import pytest

from mmwsss.datasets.coco.coco_masks import (
    SegmentationError,
    decode_counts,
    decode_rle,
    fill_polygons,
    merge_masks,
    segmentation_mask,
)
from mmwsss.utils.errors import UserError

needs_pycocotools = pytest.mark.skipif(importlib.util.find_spec('pycocotools') is None,
                                       reason='pycocotools is not installed')


def run_lengths(mask):
    """Pixel by pixel, down the columns."""
    counts, current = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if mask[row, column] != current:
                counts.append(0)
                current = not current
            counts[-1] += 1
    return counts


def compress(counts):
    """The encoder of the format, by division: digits in base 32 until what is left fits a signed digit."""
    text = ''
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        while not -16 <= number < 16:
            text += chr(48 + 32 + number % 32)
            number //= 32
        text += chr(48 + number % 32)
    return text


def winding(points, x, y):
    """How often a polygon runs round (x, y), by the angles under which its edges are seen."""
    angles = np.arctan2(points[:, 1] - y, points[:, 0] - x)
    steps = np.diff(np.append(angles, angles[0]))
    return round(float(((steps + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi)))


def by_angles(points, height, width):
    return np.array([[winding(points, j + .5, i + .5) % 2 == 1 for j in range(width)] for i in range(height)])


def test_counts_by_hand():
    # 6 = '6'; 16 needs two digits: 16 and a further bit; then differences to the number two before, -3 is 29 = 'M'
    assert decode_counts('6') == [6]
    assert decode_counts('`0') == [16]
    assert decode_counts('051M') == [0, 5, 1, 2]
    assert decode_counts('') == []


@pytest.mark.parametrize('seed', range(20))
def test_run_lengths_of_random_masks(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2).tolist()
    mask = rng.random((height, width)) < rng.choice([0, .02, .5, .98, 1])
    counts = run_lengths(mask)
    assert decode_counts(compress(counts)) == counts
    np.testing.assert_array_equal(decode_rle(counts, height, width), mask)
    for form in (counts, compress(counts)):
        found = segmentation_mask(dict(size=[height, width], counts=form), height, width)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, mask)


def test_large_counts():
    counts = np.random.default_rng(0).integers(0, 2 ** 31, 50).tolist()
    assert decode_counts(compress(counts)) == counts


@needs_pycocotools
@pytest.mark.parametrize('seed', range(20))
def test_polygons_against_angles(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 25, 2).tolist()
    # corners in any order, so with edges that cross, also outside of the image
    points = rng.uniform(-4, 28, (rng.integers(3, 9), 2))
    found = fill_polygons([points], height, width)
    assert found.shape == (height, width) and found.dtype == bool
    # pycocotools decides pixels on the outline in its own way, those off it by their centre.
    ends = np.stack([points, np.roll(points, -1, axis=0)])
    outline = np.concatenate([ends[0] + t * (ends[1] - ends[0]) for t in np.linspace(0, 1, 400)])
    centres = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) + .5
    is_far = np.abs(centres[:, :, None] - outline).max(axis=-1).min(axis=-1) > 1.01
    np.testing.assert_array_equal(found[is_far], by_angles(points, height, width)[is_far])


@needs_pycocotools
def test_polygon_on_the_edges_of_pixels():
    box = np.array([[2., 1.], [5., 1.], [5., 3.], [2., 3.]])
    expected = np.zeros((4, 6), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(fill_polygons([box], 4, 6), expected)
    np.testing.assert_array_equal(fill_polygons([box[::-1]], 4, 6), expected)
    assert not fill_polygons([box + 10], 4, 6).any() and not fill_polygons([box - 10], 4, 6).any()
    assert not fill_polygons([], 4, 6).any()


@needs_pycocotools
@pytest.mark.parametrize('seed', range(5))
def test_all_of_an_annotation_as_pycocotools_alone_draws_it(seed):
    from pycocotools import mask as coco_mask
    rng = np.random.default_rng(seed)
    for _ in range(60):
        height, width = rng.integers(4, 80, 2).tolist()
        polygons = [rng.uniform(-5, 85, 2 * rng.integers(3, 9)).tolist() for _ in range(rng.integers(1, 4))]
        expected = coco_mask.decode(coco_mask.frPyObjects(polygons, height, width)).any(axis=2)
        np.testing.assert_array_equal(segmentation_mask(polygons, height, width), expected)
        rle = coco_mask.encode(np.asfortranarray(expected, np.uint8))
        counts = rle['counts'].decode()
        np.testing.assert_array_equal(segmentation_mask(dict(rle, counts=counts), height, width), expected)


def test_without_pycocotools(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'pycocotools, which is not installed: pip install mmwsss\[coco\]'):
        segmentation_mask([[0, 0, 4, 0, 4, 4]], 6, 6)
    assert segmentation_mask({'size': [2, 3], 'counts': [6]}, 2, 3).sum() == 0  # run lengths need none


@needs_pycocotools
def test_union_of_polygons():
    first, second = [0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 6, 2, 6, 6, 2, 6]
    mask = segmentation_mask([first, second, [1, 1, 6, 6]], 6, 6)  # the last one has no area
    expected = np.zeros((6, 6), bool)
    expected[:4, :4] = expected[2:, 2:] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize('segmentation, message', [
    (None, 'no outline'), ([], 'no outline'), ('abc', 'no outline'), ([[1, 2, 3, 4, 5]], 'pairs of numbers'),
    ([[1, 2, 3, 4, 5, 'x']], 'pairs of numbers'), ([3], 'pairs of numbers'), ([[0, 0, 1, 0, float('nan'), 1]], 'pairs'),
    ([[0, 0, 1e300, 0, 1, 1]], 'pairs of numbers'), ({'size': [2, 3]}, 'no run lengths'),
    ({'size': [3, 2], 'counts': [6]}, r'of size \[3, 2\], the image of \[2, 3\]'),
    ({'counts': [6]}, 'of size None'), ({'size': [2, 3], 'counts': [5]}, 'do not add up to 2 x 3'),
    ({'size': [2, 3], 'counts': [7, -1]}, 'do not add up'), ({'size': [2, 3], 'counts': [5.5, .5]}, 'do not add up'),
    ({'size': [2, 3], 'counts': ['6']}, 'do not add up'), ({'size': [2, 3], 'counts': '5'}, 'do not add up'),
    ({'size': [2, 3], 'counts': '6 '}, 'no compressed RLE'), ({'size': [2, 3], 'counts': 'o' * 99}, 'no compressed'),
    ({'size': [2, 3], 'counts': '6P'}, 'end within a number')])
def test_damaged_segmentations(segmentation, message):
    with pytest.raises(SegmentationError, match=message):
        segmentation_mask(segmentation, 2, 3)


def test_merge_by_pixels():
    rng = np.random.default_rng(0)
    masks = [rng.random((30, 40)) < share for share in (.9, .3, .5, .2, .6)]
    values = [3, 255, 1, 1, 2]
    label = merge_masks(masks, values, 30, 40)
    assert label.dtype == np.uint8
    for (i, j), found in np.ndenumerate(label):
        here = [(mask.sum(), value) for mask, value in zip(masks, values) if mask[i, j]]
        objects = [item for item in here if item[1] != 255]
        assert found == (min(objects)[1] if objects else 255 if here else 0)
    assert set(np.unique(label)) == {0, 1, 2, 3, 255}
    assert not merge_masks([], [], 2, 3).any()


def test_of_equal_objects_the_later_is_on_top():
    mask = np.ones((2, 2), bool)
    assert (merge_masks([mask, mask], [2, 1], 2, 2) == 1).all()
