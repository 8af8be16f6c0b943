import numpy as np
import pytest
import torch

from mmwsss.evaluation import threshold_curve as module
from mmwsss.evaluation.threshold_curve import (
    DEFAULT_THRESHOLDS,
    CAMHistogram,
    cam_histogram,
    check_thresholds,
    curve_from_histogram,
    label_from_cam,
)


def naive_confusion(samples, thresholds, num_classes):
    """Confusion counts [T, ground truth, prediction], pixel by pixel where it decides, threshold by threshold."""
    n = num_classes + 1
    total = np.zeros((len(thresholds), n, n), np.int64)
    for cam, classes, gt in samples:
        for i, threshold in enumerate(np.asarray(thresholds, np.float32)):
            for y, x in zip(*np.nonzero(gt != 255)):
                pred, highest = 0, threshold
                for k in range(len(classes)):
                    if cam[k, y, x] > highest:
                        pred, highest = classes[k] + 1, cam[k, y, x]
                total[i, gt[y, x], pred] += 1
    return total


def naive_scores(confusion):
    """The scores of one threshold in plain Python: {name: value or None}."""
    n = len(confusion)
    tp = [int(confusion[c, c]) for c in range(n)]
    fp = [int(confusion[:, c].sum()) - tp[c] for c in range(n)]
    fn = [int(confusion[c].sum()) - tp[c] for c in range(n)]

    def mean(pairs):
        kept = [a / b for a, b in pairs if b]
        return sum(kept) / len(kept) if kept else None

    classes = range(1, n)
    return dict(mIoU=mean((tp[c], tp[c] + fp[c] + fn[c]) for c in range(n)),
                precision=mean((tp[c], tp[c] + fp[c]) for c in range(n)),
                recall=mean((tp[c], tp[c] + fn[c]) for c in range(n)),
                m_FN=mean((fn[c], tp[c]) for c in classes), m_FP=mean((fp[c], tp[c]) for c in classes))


def naive_foreground_recall(samples, thresholds):
    """Pixel by pixel: of all pixels of objects the share whose own class has a map above the threshold."""
    result = []
    for threshold in np.asarray(thresholds, np.float32):
        covered = objects = 0
        for cam, classes, gt in samples:
            for y, x in zip(*np.nonzero((gt != 255) & (gt != 0))):
                objects += 1
                for k in range(len(classes)):
                    covered += bool(classes[k] + 1 == gt[y, x] and cam[k, y, x] > threshold)
        result.append(covered / objects if objects else np.nan)
    return result


def random_sample(rng, num_classes, thresholds):
    """Maps with ties between classes, values on thresholds, next to them, 0 and 1; any K; any ground truth."""
    size = rng.integers(1, 9, 2)
    k = rng.integers(0, num_classes + 1)
    classes = rng.permutation(num_classes)[:k]
    on = np.concatenate([thresholds, [0, 1]]).astype(np.float32)
    on = np.concatenate([on, np.nextafter(on, np.float32(2)), np.nextafter(on, np.float32(-1))])
    cam = rng.choice(on, (k, *size)) if rng.random() < .5 else rng.random((k, *size), dtype=np.float32)
    if k > 1 and rng.random() < .5:
        cam[1] = np.where(rng.random(size) < .5, cam[0], cam[1])
    gt = rng.integers(0, num_classes + 1, size).astype(np.uint8)
    gt[rng.random(size) < rng.choice([0, .2, 1])] = 255
    return cam.astype(np.float32), classes, gt


def random_thresholds(rng):
    count = rng.integers(1, 8)
    kind = rng.integers(3)
    if kind == 0:
        values = np.linspace(0, 1, count + 1)[:-1]
    elif kind == 1:  # closer than the smallest cells
        values = .3 + 1e-5 * np.arange(count)
    else:
        values = np.unique(rng.normal(.5, .5, count).astype(np.float32))
    return values.astype(np.float32)


def confusion_from_histogram(histogram, num_classes):
    """TP, FP and FN [T, C + 1] by definition, bin by bin."""
    pred, gt = histogram.pred, histogram.gt
    result = []
    for t in range(pred.shape[-1] - 1):
        foreground = pred[:, :, t + 1:].sum(axis=-1)
        tp = [gt[0] - foreground[:, 0].sum(), *foreground[:, 1]]
        predicted = [gt.sum() - foreground.sum(), *foreground.sum(axis=1)]
        result.append([tp, np.subtract(predicted, tp), gt - tp])
    return np.array(result).transpose(1, 0, 2)


@pytest.mark.parametrize('seed', range(60))
def test_equals_the_naive_loop_to_the_last_count(seed):
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 6))
    thresholds = random_thresholds(rng)
    samples = [random_sample(rng, num_classes, thresholds) for _ in range(3)]
    total = CAMHistogram.zeros(num_classes, len(thresholds))
    for sample in samples:
        total += cam_histogram(*sample, thresholds, num_classes)
    confusion = naive_confusion(samples, thresholds, num_classes)
    tp = confusion.diagonal(axis1=1, axis2=2)
    expected = tp, confusion.sum(axis=1) - tp, confusion.sum(axis=2) - tp
    for ours, theirs in zip(confusion_from_histogram(total, num_classes), expected):
        np.testing.assert_array_equal(ours, theirs)
    curve = curve_from_histogram(total)
    for t in range(len(thresholds)):
        for name, value in naive_scores(confusion[t]).items():
            np.testing.assert_allclose(curve[name][t], np.nan if value is None else value, rtol=1e-12)
    np.testing.assert_allclose(curve['foreground_recall'], naive_foreground_recall(samples, thresholds), rtol=1e-12)


def test_foreground_recall_is_of_pixels_and_of_own_maps_whatever_the_argmax():
    # Cats: .1 and .4, the latter below the dog's .6. Dogs: .3. Cow: no map. Background: .9. Ignored: .9.
    cam = np.array([[[.1, .4, 0, 0, .9, .9]], [[0, .6, .3, 0, 0, 0]]], np.float32)
    histogram = cam_histogram(cam, np.array([0, 1]), np.array([[1, 1, 2, 3, 0, 255]], np.uint8), [0, .2, .35, .5], 3)
    curve = curve_from_histogram(histogram)
    np.testing.assert_array_equal(curve['foreground_recall'], [3 / 4, 2 / 4, 1 / 4, 0])
    # By argmax the second pixel is a dog, and the mean is over the background and the classes.
    np.testing.assert_allclose(curve['recall'][0], np.mean([0, 1 / 2, 1, 0]))
    empty = cam_histogram(cam, np.array([0, 1]), np.zeros((1, 6), np.uint8), [0.], 3)
    assert np.isnan(curve_from_histogram(empty)['foreground_recall']).all()


def test_counts_by_hand():
    # Values .2 (on a threshold), .2 + tiny, .9 | classes 4, 4, 1 | ground truth other, same, ignored.
    cam = np.array([[[.2, .3, .1]], [[.1, .1, .9]]], np.float32)
    histogram = cam_histogram(cam, np.array([4, 1]), np.array([[2, 5, 255]], np.uint8), [0., .2, .5], 5)
    expected = CAMHistogram.zeros(5, 3)
    expected.pred[4, module.GT_OTHER, 1] = 1  # above 0, not above .2
    expected.pred[4, module.GT_SAME, 2] = 1   # above 0 and .2
    expected.gt[[2, 5]] = 1
    expected.own[1, 1] = 1                    # the map of the first pixel's class: .1
    np.testing.assert_array_equal(histogram.pred, expected.pred)
    np.testing.assert_array_equal(histogram.gt, expected.gt)
    np.testing.assert_array_equal(histogram.own, expected.own)
    assert histogram.pred.dtype == histogram.gt.dtype == histogram.own.dtype == np.int64


def test_first_of_equal_maxima_wins():
    cam = np.full((3, 1, 1), .5, np.float32)
    histogram = cam_histogram(cam, np.array([2, 0, 1]), np.array([[1]], np.uint8), [0.], 3)
    assert np.argwhere(histogram.pred).tolist() == [[2, module.GT_OTHER, 1]]


def test_many_maps_and_blocks():
    # More maps than fit a small index, and more pixels than one block.
    rng = np.random.default_rng(0)
    num_classes, shape = 254, (150, 500)
    assert shape[0] * shape[1] > module.BLOCK
    cam = rng.random((254, *shape), dtype=np.float32)
    classes = rng.permutation(254)
    gt = rng.choice([0, 1, 100, 254, 255], shape).astype(np.uint8)
    thresholds = np.array([.9, .99, .995], np.float32)
    histogram = cam_histogram(cam, classes, gt, thresholds, num_classes)
    for t, threshold in enumerate(thresholds):
        pred = label_from_cam(cam, classes, threshold)
        for c in range(num_classes):
            own = (pred == c + 1) & (gt != 255)
            expected = [(own & (gt == 0)).sum(), (own & (gt == c + 1)).sum(), (own & (gt > 0) & (gt != c + 1)).sum()]
            assert histogram.pred[c, :, t + 1:].sum(axis=-1).tolist() == expected
    recall = curve_from_histogram(histogram)['foreground_recall']
    for t, threshold in enumerate(thresholds):
        covered = sum(((gt == classes[k] + 1) & (cam[k] > threshold)).sum() for k in range(254))
        assert recall[t] == covered / ((gt > 0) & (gt < 255)).sum()


@pytest.mark.parametrize('thresholds', [DEFAULT_THRESHOLDS, np.linspace(0, 1, 60), np.linspace(0, 1, 5000), [-3., 7.],
                                        [.5], [1e-20, 1e-10, 1e-9], [-2., -1., .1, .2, 1.5, 2.5]])
def test_bins_are_the_number_of_thresholds_below(thresholds):
    thresholds = check_thresholds(thresholds)
    rng = np.random.default_rng(0)
    values = np.concatenate([thresholds, np.nextafter(thresholds, np.float32(9)),
                             np.nextafter(thresholds, np.float32(-9)), rng.random(500, dtype=np.float32),
                             rng.normal(0, 5, 500).astype(np.float32)])
    values = rng.permutation(values)[:1000]
    bins = module._Bins(thresholds)
    counts = np.zeros((len(values), bins.size), np.int64)
    counts[np.arange(len(values)), bins(values)] = 1
    expected = (thresholds[None] < values[:, None]).sum(axis=1)
    by_bin = bins.merge(counts)
    assert by_bin.shape == (len(values), len(thresholds) + 1)
    np.testing.assert_array_equal(by_bin.argmax(axis=1), expected)
    np.testing.assert_array_equal(by_bin.sum(axis=1), 1)


def test_both_ways_of_binning_are_used():
    assert not module._Bins(check_thresholds(DEFAULT_THRESHOLDS)).exact
    assert module._Bins(check_thresholds(np.linspace(0, 1, 5000))).exact


@pytest.mark.parametrize('kind', [np.asarray, torch.as_tensor])
def test_arrays_and_tensors(kind):
    rng = np.random.default_rng(0)
    cam, classes, gt = rng.random((2, 4, 5), dtype=np.float32), np.array([2, 0]), np.zeros((4, 5), np.uint8)
    histogram = cam_histogram(kind(cam), kind(classes), kind(gt), DEFAULT_THRESHOLDS, 3)
    strided = cam_histogram(np.asfortranarray(cam), classes, np.asfortranarray(gt), DEFAULT_THRESHOLDS, 3)
    np.testing.assert_array_equal(histogram.pred, strided.pred)
    assert histogram.pred.sum() == histogram.gt[0] == 20


def test_no_maps_and_no_ground_truth():
    gt = np.array([[0, 1, 255]], np.uint8)
    histogram = cam_histogram(np.zeros((0, 1, 3), np.float32), np.zeros(0, np.int64), gt, [0., .5], 2)
    assert histogram.pred.sum() == 0 and histogram.gt.tolist() == [1, 1, 0]
    curve = curve_from_histogram(histogram)
    np.testing.assert_array_equal(curve['iou'], [[.5, .5], [0, 0], [np.nan, np.nan]])
    histogram = cam_histogram(np.ones((1, 1, 3), np.float32), np.array([0]), np.full((1, 3), 255, np.uint8), [0.], 2)
    assert histogram.pred.sum() == histogram.gt.sum() == 0
    assert all(np.isnan(curve_from_histogram(histogram)[name]).all() for name in ('mIoU', 'm_FN', 'm_FP'))


def test_label_from_cam():
    cam = np.array([[[.5, .2, .7, .3]], [[.5, .8, .1, .2]]], np.float32)
    label = label_from_cam(cam, np.array([6, 2]), .3)
    assert label.dtype == np.uint8 and label.tolist() == [[7, 3, 7, 0]]
    assert label_from_cam(cam[:0], np.zeros(0, np.int64), .3).tolist() == [[0, 0, 0, 0]]
    # .3 in float32 is larger than .3 in float64.
    assert label_from_cam(np.float32([[[.3]]]), np.array([0]), .3).tolist() == [[0]]


@pytest.mark.parametrize('change, message', [
    (dict(gt=np.full((4, 5), 4, np.uint8)), 'label 4, but there are 3 classes'),
    (dict(gt=np.full((4, 5), 254, np.uint8)), 'label 254'),
    (dict(gt=np.zeros((4, 5), np.int64)), 'expected maps'), (dict(gt=np.zeros((5, 4), np.uint8)), 'expected maps'),
    (dict(classes=np.array([1, 1])), 'distinct'), (dict(classes=np.array([1, 3])), 'distinct'),
    (dict(classes=np.array([-1, 1])), 'distinct'), (dict(classes=np.array([1])), 'expected maps'),
    (dict(cam=np.full((2, 4, 5), np.nan, np.float32)), 'not a number'),
    (dict(thresholds=[.2, .1]), 'increasing'), (dict(thresholds=[.1, .1 + 1e-12]), 'increasing'),
    (dict(thresholds=[]), 'increasing'), (dict(thresholds=[np.nan]), 'increasing'),
    (dict(num_classes=255), '254'), (dict(num_classes=0), '254')])
def test_wrong_arguments(change, message):
    arguments = dict(dict(cam=np.zeros((2, 4, 5), np.float32), classes=np.array([2, 0]),
                          gt=np.zeros((4, 5), np.uint8), thresholds=[0., .5], num_classes=3), **change)
    with pytest.raises(ValueError, match=message):
        cam_histogram(**arguments)


def test_one_nan_is_found():
    cam = np.zeros((2, 4, 5), np.float32)
    cam[0, 3, 4] = np.nan
    with pytest.raises(ValueError, match='not a number'):
        cam_histogram(cam, np.array([0, 1]), np.zeros((4, 5), np.uint8), [0.], 2)


def test_histograms_add_up():
    rng = np.random.default_rng(1)
    cam, classes, gt = rng.random((2, 6, 5), dtype=np.float32), np.array([0, 1]), np.ones((6, 5), np.uint8)
    total = CAMHistogram.zeros(2, 2)
    for rows in (slice(0, 2), slice(2, 6)):
        total += cam_histogram(cam[:, rows], classes, gt[rows], [.1, .5], 2)
    whole = cam_histogram(cam, classes, gt, [.1, .5], 2)
    np.testing.assert_array_equal(total.pred, whole.pred)
    np.testing.assert_array_equal(total.gt, whole.gt)
    np.testing.assert_array_equal(total.own, whole.own)
    assert whole.own.any()
