import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmwsss.evaluation.label_metrics import (
    confusion_matrix,
    count_labels,
    load_mask,
    nan_to_none,
    scores_from_confusion,
    scores_from_counts,
)
from mmwsss.structures import write_label
from mmwsss.utils.errors import UserError


def random_labels(seed, num_classes=4, shape=(13, 17)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes + 1, (2, *shape)).astype(np.uint8)
    labels[rng.random(labels.shape) < .2] = 255
    return labels


def loop_confusion(pred, gt, num_classes):
    counts = np.zeros((num_classes + 1, num_classes + 2), np.int64)
    for p, g in zip(pred.ravel().tolist(), gt.ravel().tolist()):
        if g != 255:
            counts[g, num_classes + 1 if p == 255 else p] += 1
    return counts


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('num_classes', [1, 4, 254])
def test_confusion_against_a_loop(seed, num_classes):
    pred, gt = random_labels(seed, num_classes)
    confusion = confusion_matrix(pred, gt, num_classes)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, loop_confusion(pred, gt, num_classes))


@pytest.mark.parametrize('seed', range(10))
def test_against_mmsegs_iou_metric(seed):
    num_classes, results, confusion = 4, [], 0
    for i in range(3):
        pred, gt = random_labels(100 * seed + i, num_classes)
        gt[gt == 3] = 0  # a class that is predicted only
        tensors = torch.from_numpy(pred), torch.from_numpy(gt)
        results.append(IoUMetric.intersect_and_union(*tensors, num_classes + 1, 255))
        confusion = confusion + confusion_matrix(pred, gt, num_classes)
    areas = [sum(parts) for parts in zip(*results)]
    expected = IoUMetric.total_area_to_metrics(*areas, metrics=['mIoU', 'mFscore'])
    scores = scores_from_confusion(confusion)
    np.testing.assert_allclose(scores['iou'], expected['IoU'], rtol=1e-6)
    np.testing.assert_allclose(scores['mIoU'], np.nanmean(expected['IoU']), rtol=1e-6)
    np.testing.assert_allclose(scores['precision'], np.nanmean(expected['Precision']), rtol=1e-6)
    np.testing.assert_allclose(scores['recall'], np.nanmean(expected['Recall']), rtol=1e-6)
    assert 0 < scores['ignored_share'] < 1


def test_ignored_prediction_is_a_miss():
    pred = np.array([[1, 255, 0, 255]], np.uint8)
    gt = np.array([[1, 1, 0, 255]], np.uint8)
    scores = scores_from_confusion(confusion_matrix(pred, gt, 1))
    assert scores['iou'].tolist() == [1, .5]
    assert scores['m_FN'] == 1 and scores['m_FP'] == 0
    assert scores['ignored_share'] == 1 / 3


def test_scores_by_hand():
    # Background; 8 of 10 found and 2 wrong; never found; absent altogether; predicted only.
    tp, fp, fn = np.array([[50, 8, 0, 0, 0], [5, 2, 0, 0, 4], [10, 2, 7, 0, 0]])
    scores = scores_from_counts(tp, fp, fn)
    np.testing.assert_allclose(scores['iou'], [50 / 65, 8 / 12, 0, np.nan, 0])
    np.testing.assert_allclose(scores['mIoU'], (50 / 65 + 8 / 12) / 4)
    np.testing.assert_allclose(scores['fn_ratio'], [2 / 8, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(scores['fp_ratio'], [2 / 8, np.nan, np.nan, np.nan])
    assert scores['m_FN'] == scores['m_FP'] == .25
    np.testing.assert_allclose(scores['precision'], (50 / 55 + 8 / 10 + 0) / 3)
    np.testing.assert_allclose(scores['recall'], (50 / 60 + 8 / 10 + 0) / 3)
    assert scores['left_out'] == dict(mIoU=1, precision=2, recall=2, m_FN=3, m_FP=3)


def test_seam_equations():
    # eq. 13, 14: means of FN / TP and FP / TP over the classes, without the background.
    rng = np.random.default_rng(0)
    tp, fp, fn = rng.integers(1, 100, (3, 21, 2))
    scores = scores_from_counts(tp, fp, fn)
    for i in range(2):
        m_fn = sum(fn[c, i] / tp[c, i] for c in range(1, 21)) / 20
        m_fp = sum(fp[c, i] / tp[c, i] for c in range(1, 21)) / 20
        np.testing.assert_allclose([scores['m_FN'][i], scores['m_FP'][i]], [m_fn, m_fp])


def test_nothing_to_evaluate():
    scores = scores_from_confusion(confusion_matrix(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8), 2))
    assert all(np.isnan(scores[name]) for name in ('mIoU', 'm_FN', 'm_FP', 'precision', 'recall', 'ignored_share'))


def test_count_labels():
    label = np.array([[0, 2, 2], [255, 255, 1]], np.uint8)
    assert count_labels(label, 3).tolist() == [1, 1, 2, 0]
    assert count_labels(np.asfortranarray(label), 2).tolist() == [1, 1, 2]
    assert count_labels(np.full((2, 2), 254, np.uint8), 254)[254] == 4
    with pytest.raises(ValueError, match='has the label 2, but there are 1 classes'):
        count_labels(label, 1)


@pytest.mark.parametrize('pred, message', [(np.zeros((2, 3), np.uint8), '2 x 3, but its mask is 3 x 2'),
                                           (np.full((3, 2), 5, np.uint8), 'label 5')])
def test_wrong_prediction(pred, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(pred, np.zeros((3, 2), np.uint8), 4)


def test_scores_for_json():
    assert nan_to_none(np.float64('nan')) is None
    value = nan_to_none(np.float64(0.25))
    assert value == 0.25 and type(value) is float


def test_load_mask(tmp_path):
    mask = np.array([[0, 4, 255]], np.uint8)
    write_label(tmp_path / 'a.png', mask)
    np.testing.assert_array_equal(load_mask(tmp_path / 'a.png', (1, 3), 4), mask)
    for size, num_classes, message in (((3, 1), 4, r'a\.png: the mask is 1 x 3 instead of 3 x 1'),
                                       ((1, 3), 3, r'a\.png: has the label 4, but there are 3 classes')):
        with pytest.raises(UserError, match=message):
            load_mask(tmp_path / 'a.png', size, num_classes)
    with pytest.raises(UserError, match='no such label file'):
        load_mask(tmp_path / 'b.png', (1, 3), 4)
