import cv2
import numpy as np
import pytest

from mmwsss.evaluation import component_tree as module
from mmwsss.evaluation import merge_tree
from mmwsss.evaluation.component_tree import component_tree, largest_contour_box, union_boxes


def flood(mask):
    """8-connected components, by hand: lists of (y, x)."""
    left, found = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask))}, []
    while left:
        pending, pixels = [left.pop()], []
        while pending:
            y, x = pending.pop()
            pixels.append((y, x))
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    pending.append(near)
        found.append(pixels)
    return found


def box_of(pixels):
    ys, xs = zip(*pixels)
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def random_levels(rng, trial):
    height, width = rng.integers(1, 13, 2)
    count = int(rng.integers(1, 9))
    if trial % 3:
        return rng.integers(0, count + 1, (height, width)), count
    smooth = cv2.resize(rng.random((3, 3), dtype=np.float32), (int(width), int(height)))
    return np.floor(smooth * (count + 1)).astype(int).clip(0, count), count


@pytest.fixture(params=['numba', 'numpy', 'numpy, sorted'], autouse=True)
def way(request, monkeypatch):
    if request.param == 'numba':
        pytest.importorskip('numba')
        assert module.compiled_components() is not None
        return
    monkeypatch.setattr(module, 'compiled_components', lambda: None)
    if request.param != 'numpy':
        monkeypatch.setattr(merge_tree, 'MAX_TABLE', 0)


def test_components_at_every_threshold():
    rng = np.random.default_rng(0)
    for trial in range(60):
        levels, count = random_levels(rng, trial)
        tree = component_tree(levels, count)
        area, holes = tree.contour_areas()
        largest = {size: tree.largest(size) for size in ('pixels', 'box', 'contour')}
        for threshold in range(count):
            mask = levels > threshold
            there = (tree.first <= threshold) & (threshold <= tree.last)
            expected = sorted((*box_of(pixels), len(pixels)) for pixels in flood(mask))
            assert sorted(map(tuple, np.c_[tree.boxes, tree.pixels][there].tolist())) == expected
            assert tree.counts()[threshold] == len(expected)
            # Areas of outer contours, less what the contours of holes enclose.
            contours, relations = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            outer = [i for i in range(len(contours)) if relations[0][i][3] < 0]
            inner = [[cv2.contourArea(contours[j]) for j in range(len(contours)) if relations[0][j][3] == i]
                     for i in outer]
            assert sorted(zip(area[there], holes[there])) == sorted(
                (cv2.contourArea(contours[i]) - sum(inside), len(inside)) for i, inside in zip(outer, inner))
            for size, key in (('pixels', lambda p: len(p)), ('box', lambda p: np.prod(np.subtract(
                    box_of(p)[2:], box_of(p)[:2])))):
                boxes, found = largest[size]
                assert found[threshold] == bool(expected)
                if expected:
                    first = min(flood(mask), key=lambda p: (-key(p), *[box_of(p)[i] for i in (1, 0, 3, 2)]))
                    assert tuple(boxes[threshold]) == box_of(first)
            if expected:
                assert tuple(largest['contour'][0][threshold]) == largest_contour_box(mask)
            else:
                assert not largest['contour'][0][threshold].any()


def test_largest_contour_counts_holes():
    levels = np.zeros((12, 20), int)
    levels[1:11, 1:11] = 1  # a ring: 36 pixels, its contour encloses 81
    levels[2:10, 2:10] = 0
    levels[3:9, 12:19] = 1  # 42 pixels, encloses 30
    tree = component_tree(levels, 2)
    assert tree.largest('pixels')[0].tolist() == [[12, 3, 19, 9], [0, 0, 0, 0]]
    assert tree.largest('contour')[0].tolist() == [[1, 1, 11, 11], [0, 0, 0, 0]]
    assert tree.largest('box')[0].tolist() == [[1, 1, 11, 11], [0, 0, 0, 0]]
    assert tree.largest('pixels')[1].tolist() == [True, False]
    with pytest.raises(ValueError, match='size is one of'):
        tree.largest('volume')


def test_largest_contour_box_of_equal_areas_and_islands():
    mask = np.zeros((9, 9), bool)
    mask[6, 1] = mask[1, 6] = True
    assert largest_contour_box(mask) == (6, 1, 7, 2)  # the upper one
    mask[:] = True
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    assert largest_contour_box(mask) == (0, 0, 9, 9)


def test_maximum_over_components():
    rng = np.random.default_rng(1)
    for trial in range(40):
        levels, count = random_levels(rng, trial)
        tree = component_tree(levels, count)
        values = rng.random(len(tree))
        expected = [max((v for v, a, b in zip(values, tree.first, tree.last) if a <= t <= b), default=-1)
                    for t in range(count)]
        np.testing.assert_array_equal(tree.maximum(values, -1), expected)


def test_union_boxes():
    rng = np.random.default_rng(2)
    for trial in range(40):
        levels, count = random_levels(rng, trial)
        for threshold, box in enumerate(union_boxes(levels, count)):
            pixels = list(zip(*np.nonzero(levels > threshold)))
            assert tuple(box) == (box_of(pixels) if pixels else (0, 0, 0, 0))


def test_large_map_of_noise_and_flat_maps():
    levels = np.random.default_rng(3).integers(0, 1001, (120, 90))
    tree = component_tree(levels, 1000)
    count = [cv2.connectedComponents((levels > t).astype(np.uint8))[0] - 1 for t in (0, 100, 500, 900, 999)]
    assert tree.counts()[[0, 100, 500, 900, 999]].tolist() == count
    whole = component_tree(np.full((5, 7), 3), 4)
    assert whole.boxes.tolist() == [[0, 0, 7, 5]] and (whole.first, whole.last) == (0, 2)
    nothing = component_tree(np.zeros((5, 7), int), 4)
    assert len(nothing) == 0 and not nothing.largest('contour')[1].any() and nothing.counts().tolist() == [0] * 4
    assert [len(part) for part in nothing.contour_areas()] == [0, 0]
