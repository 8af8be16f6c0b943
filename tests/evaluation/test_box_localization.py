import cv2
import numpy as np
import pytest

from mmwsss.evaluation.box_localization import (
    benchmark_hits,
    benchmark_levels,
    box_iou,
    image_hits,
    iou_curve,
    levels_of,
    mask_histogram,
    min_max,
    pixel_average_precision,
    resize_boxes,
)
from mmwsss.evaluation.component_tree import largest_contour_box

THRESHOLDS = np.arange(0, 1, .02)


def random_map(rng, size=(40, 36), grid=5):
    cam = cv2.resize(rng.random((grid, grid), dtype=np.float32) ** 2, size[::-1], interpolation=cv2.INTER_CUBIC)
    return min_max(cam)


def slow_iou(box, other, one):
    width = min(box[2], other[2]) - max(box[0], other[0]) + one
    height = min(box[3], other[3]) - max(box[1], other[1]) + one
    inside = max(0, width) * max(0, height)
    return inside / (sum((b[2] - b[0] + one) * (b[3] - b[1] + one) for b in (box, other)) - inside)


def slow_benchmark(cam, gt_boxes, threshold):
    """One search for contours, as the released code does it: IoU of the largest one, and of the best one."""
    values = (cam * 255).astype(np.uint8)
    mask = cv2.threshold(values, int(threshold * values.max()), 255, cv2.THRESH_BINARY)[1]
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        best = max(slow_iou((0, 0, 0, 0), gt, 1) for gt in gt_boxes)
        return best, best
    height, width = cam.shape

    def iou(x0, y0, x1, y1):
        return max(slow_iou((x0, y0, min(x1, width - 1), min(y1, height - 1)), gt, 1) for gt in gt_boxes)

    # Not the outermost ones alone: islands in holes are components too.
    contours, relations = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [cv2.boundingRect(c) for c, relation in zip(contours, relations[0]) if relation[3] < 0]
    return iou(*largest_contour_box(mask > 0)), max(iou(x, y, x + w, y + h) for x, y, w, h in outer)


def test_box_iou_by_hand():
    boxes, others = [[0, 0, 4, 4], [10, 10, 12, 12]], [[2, 0, 6, 4], [0, 0, 4, 4]]
    np.testing.assert_allclose(box_iou(boxes, others), [[8 / 24, 1], [0, 0]])
    # Both ends count: 5 x 5 and 5 x 5 pixels share 3 x 5.
    np.testing.assert_allclose(box_iou(boxes[:1], others[:1], inclusive=True), [[15 / 35]])
    assert box_iou([[1, 1, 1, 1]], [[2, 2, 2, 2]]) == 0


def test_levels():
    thresholds = np.array([0, .25, .5])
    assert levels_of(np.array([[0, .25, .26, .5, 1]]), thresholds).tolist() == [[0, 1, 2, 2, 3]]
    # value > int(t * max): the values are 0, 2, 127, 255, the limits 0, 63, 127.
    assert benchmark_levels(np.array([[0, .01, .5, 1]]), thresholds).tolist() == [[0, 1, 2, 3]]
    assert not benchmark_levels(np.zeros((2, 2)), thresholds).any()


def test_resize_boxes():
    boxes = np.array([[0, 0, 3, 7], [1, 1, 2, 3]])
    assert resize_boxes(boxes, (7, 3)).tolist() == [[0, 0, 224, 224], [74, 32, 149, 96]]
    for side in range(1, 600):
        assert resize_boxes(np.array([[0, 0, side, side]]), (side, side)).tolist() == [[0, 0, 224, 224]]


@pytest.mark.parametrize('grid', [3, 8, 40])
def test_benchmark_equals_search_for_contours(grid):
    rng = np.random.default_rng(grid)
    for _ in range(3):
        cam = random_map(rng, grid=grid)
        start = rng.integers(0, 20, (2, 2))
        gt_boxes = np.concatenate([start, start + rng.integers(5, 16, (2, 2))], axis=1)
        ious = (.1, .3, .5, .7)
        found = benchmark_hits(cam, gt_boxes, THRESHOLDS, ious)
        expected = np.array([slow_benchmark(cam, gt_boxes, t) for t in THRESHOLDS])  # T x 2
        np.testing.assert_array_equal(found, expected.T[:, None] >= np.array(ious)[:, None])


def test_benchmark_without_foreground():
    hits = benchmark_hits(np.zeros((224, 224), np.float32), np.array([[0, 0, 0, 0]]), THRESHOLDS, (.5,))
    assert hits.all()  # the box of the first pixel, as the released code has it
    assert not benchmark_hits(np.zeros((224, 224), np.float32), np.array([[5, 5, 9, 9]]), THRESHOLDS, (.5,)).any()


def test_image_hits_by_hand():
    cam = np.zeros((10, 10), np.float32)
    cam[1:5, 1:5] = .6  # 16 pixels
    cam[6:9, 6:9] = 1.
    thresholds = np.array([0, .5, .6, .9, 1])
    hits = image_hits(cam, np.array([[1, 1, 5, 5]]), thresholds)
    assert hits.tolist() == [[True, True, False, False, False], [False] * 5]
    hits = image_hits(cam, np.array([[1., 1, 9, 9], [6, 6, 9, 9]]), thresholds)  # several boxes: any of them
    assert hits.tolist() == [[False, False, True, True, False], [True, True, True, True, False]]
    # An IoU of one half is not above it.
    assert not image_hits(cam, np.array([[6, 6, 9, 12]]), thresholds[3:4])[0]
    assert image_hits(cam, np.array([[6, 6, 9, 11.9]]), thresholds[3:4])[0]


def test_image_hits_equal_a_loop():
    rng = np.random.default_rng(5)
    for _ in range(5):
        cam, gt = random_map(rng), np.array([[3, 4, 25, 30], [10, 2, 30, 20]])
        found = image_hits(cam, gt, THRESHOLDS, 'pixels', iou=.3)
        for i, threshold in enumerate(np.float32(THRESHOLDS)):
            count, _, stats, _ = cv2.connectedComponentsWithStats((cam > threshold).astype(np.uint8))
            if count == 1:
                assert not found[:, i].any()
                continue
            x, y, w, h, _ = max(stats[1:].tolist(), key=lambda s: (s[4], -s[1], -s[0]))
            ys, xs = np.nonzero(cam > threshold)
            union = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
            for j, box in enumerate(((x, y, x + w, y + h), union)):
                assert found[j, i] == (max(slow_iou(box, other, 0) for other in gt) > .3)


def test_masks_by_hand():
    cam = np.array([[1., .6, .4, .2]])
    mask = np.array([[1, 0, 7, 255]], np.uint8)
    histogram = mask_histogram(cam, mask, np.array([0, .4, .5]))
    assert histogram.tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]
    # At 0.5: {1, .6} of which one is right, and one is missed; at 0.4 and 0: all three, two are right.
    np.testing.assert_allclose(iou_curve(histogram), [2 / 3, 2 / 3, 1 / 3])
    # Precision 1/2 at recall 1/2, precision 2/3 at recall 1.
    assert pixel_average_precision(histogram) == pytest.approx(1 / 2 * 1 / 2 + 2 / 3 * 1 / 2)
    assert np.isnan(pixel_average_precision(np.zeros((2, 4), np.int64)))
    assert iou_curve(np.zeros((2, 4), np.int64)).tolist() == [0, 0, 0]


def test_masks_equal_a_loop():
    rng = np.random.default_rng(6)
    cam = random_map(rng)
    mask = rng.choice(np.array([0, 1, 255], np.uint8), cam.shape)
    histogram = mask_histogram(cam, mask, THRESHOLDS)
    points = []
    for threshold, iou in zip(np.float32(THRESHOLDS), iou_curve(histogram)):
        pred, true, valid = cam >= threshold, mask == 1, mask != 255
        assert iou == (pred & true & valid).sum() / ((pred | true) & valid).sum()
        points.append(((pred & true & valid).sum() / true.sum(), (pred & true & valid).sum() / (pred & valid).sum()))
    points.reverse()  # from the highest threshold down
    expected = sum((r1 - r0) * p1 for (r0, _), (r1, p1) in zip([(0, 0), *points], points))
    assert pixel_average_precision(histogram) == pytest.approx(expected)


def test_min_max():
    assert min_max(np.array([[2, 4, 3]])).tolist() == [[0, 1, .5]]
    assert min_max(np.full((2, 2), 7.)).tolist() == [[0, 0], [0, 0]]
