import numpy as np
import pytest

from mmwsss.datasets.coco.coco_masks import (
    SegmentationError,
    decode_counts,
    decode_rle,
    fill_polygon,
    merge_masks,
    segmentation_mask,
)


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


@pytest.mark.parametrize('seed', range(20))
def test_polygons_against_angles(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 25, 2).tolist()
    # corners in any order, so with edges that cross, also outside of the image
    points = rng.uniform(-4, 28, (rng.integers(3, 9), 2))
    np.testing.assert_array_equal(fill_polygon(points, height, width), by_angles(points, height, width))


def test_polygon_on_the_edges_of_pixels():
    box = np.array([[2., 1.], [5., 1.], [5., 3.], [2., 3.]])
    expected = np.zeros((4, 6), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(fill_polygon(box, 4, 6), expected)
    np.testing.assert_array_equal(fill_polygon(box[::-1], 4, 6), expected)
    assert not fill_polygon(box + 10, 4, 6).any() and not fill_polygon(box - 10, 4, 6).any()


def test_polygons_that_share_an_edge_share_no_pixel():
    rng = np.random.default_rng(0)
    for _ in range(10):
        a, b, c, d = rng.integers(0, 40, (4, 2)) / 2  # through corners and centres of pixels
        # the quadrangle a b c d by either of its halves: even-odd of both is even-odd of the whole
        halves = [fill_polygon(np.array(corners), 20, 20) for corners in ((a, b, c), (a, c, d))]
        np.testing.assert_array_equal(halves[0] ^ halves[1], fill_polygon(np.array([a, b, c, d]), 20, 20))


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
