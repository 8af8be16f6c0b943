import io
import json

import numpy as np
from rich.console import Console

from mmwsss.evaluation.evaluation_report import cam_report, label_report, report_table
from mmwsss.evaluation.label_metrics import confusion_matrix, scores_from_confusion
from mmwsss.evaluation.threshold_curve import DEFAULT_THRESHOLDS, CAMHistogram, cam_histogram, label_from_cam

CLASSES = ('cat', 'dog', 'cow')
KEYS = {'mIoU', 'threshold', 'per_class', 'm_FN', 'm_FP', 'precision', 'recall', 'curve', 'oracle_threshold',
        'num_images', 'left_out', 'per_class_m_FN', 'per_class_m_FP'}


def sample(seed=0):
    rng = np.random.default_rng(seed)
    cam = rng.random((2, 20, 30), dtype=np.float32)
    gt = label_from_cam(cam + .2 * rng.standard_normal(cam.shape, dtype=np.float32), np.array([0, 1]), .62)
    return cam, np.array([0, 1]), gt


def test_cam_report_is_the_label_report_at_the_best_threshold():
    cam, classes, gt = sample()
    report = cam_report(cam_histogram(cam, classes, gt, DEFAULT_THRESHOLDS, 3), DEFAULT_THRESHOLDS, CLASSES, 1)
    scores = [scores_from_confusion(confusion_matrix(label_from_cam(cam, classes, t), gt, 3))
              for t in DEFAULT_THRESHOLDS]
    best = int(np.argmax([s['mIoU'] for s in scores]))
    assert 30 < best < 90 and report['threshold'] == DEFAULT_THRESHOLDS[best]
    expected = label_report(confusion_matrix(label_from_cam(cam, classes, report['threshold']), gt, 3), CLASSES, 1)
    for key in ('mIoU', 'per_class', 'm_FN', 'm_FP', 'precision', 'recall', 'left_out', 'per_class_m_FN',
                'per_class_m_FP'):
        assert report[key] == expected[key], key
    covered = [sum(((gt == c + 1) & (cam[k] > np.float32(t))).sum() for k, c in enumerate(classes)) / (gt > 0).sum()
               for t in DEFAULT_THRESHOLDS]
    assert [tuple(point.values()) for point in report['curve']] == [
        (t, s['mIoU'], *((s['m_FN'], s['m_FP']) if s['m_FN'] == s['m_FN'] else (None, None)), s['precision'],
         s['recall'], share)
        for t, s, share in zip(DEFAULT_THRESHOLDS, scores, covered)]
    assert report['foreground_recall'] == covered[best] and 0 < covered[best] < covered[0]
    assert report['curve'][100]['m_FN'] is None  # nothing exceeds 1


def test_keys_and_values():
    cam, classes, gt = sample()
    report = cam_report(cam_histogram(cam, classes, gt, [.2, .5], 3), [.2, .5], CLASSES, 1, class_filter='label')
    assert set(report) == KEYS | {'class_filter', 'foreground_recall'}
    assert report['oracle_threshold'] is True
    assert list(report['per_class']) == ['background', *CLASSES]
    assert report['per_class']['cow'] is None and report['per_class_m_FN']['cow'] is None
    assert report['left_out'] == dict(mIoU=1, m_FN=1, m_FP=1, precision=1, recall=1)
    assert [set(point) for point in report['curve']] == [{'threshold', 'mIoU', 'm_FN', 'm_FP', 'precision',
                                                           'recall', 'foreground_recall'}] * 2
    assert json.loads(json.dumps(report, allow_nan=False)) == report

    labels = label_report(confusion_matrix(gt, gt, 3), CLASSES, 7)
    assert set(labels) == KEYS | {'ignored_share'}
    assert (labels['threshold'], labels['curve'], labels['oracle_threshold']) == (None, [], False)
    assert labels['mIoU'] == labels['precision'] == 1 and labels['m_FN'] == labels['ignored_share'] == 0
    assert json.loads(json.dumps(labels, allow_nan=False)) == labels


def test_lowest_of_equally_good_thresholds():
    histogram = cam_histogram(np.full((1, 2, 2), .5, np.float32), np.array([0]), np.ones((2, 2), np.uint8),
                              [.1, .2, .3, .6], 3)
    assert cam_report(histogram, [.1, .2, .3, .6], CLASSES, 1)['threshold'] == .1


def test_nothing_counted():
    report = cam_report(CAMHistogram.zeros(3, 2), [.1, .2], CLASSES, 0)
    assert report['mIoU'] is report['threshold'] is report['m_FN'] is report['foreground_recall'] is None
    assert set(report['per_class'].values()) == {None}
    assert json.dumps(report, allow_nan=False)


def text(report, title='CAM'):
    console = Console(width=100, file=io.StringIO())
    console.print(report_table(report, title))
    return console.file.getvalue()


def test_table_says_oracle():
    cam, classes, gt = sample()
    shown = text(cam_report(cam_histogram(cam, classes, gt, DEFAULT_THRESHOLDS, 3), DEFAULT_THRESHOLDS, CLASSES, 12))
    assert '(oracle: chosen on ground truth)' in shown and '12 images' in shown
    assert all(name in shown for name in ('background', *CLASSES, 'mean'))
    assert '1 classes without true positives' in shown


def test_table_of_labels():
    pred = np.full((2, 2), 255, np.uint8)
    shown = text(label_report(confusion_matrix(pred, np.ones((2, 2), np.uint8), 3), CLASSES, 1))
    assert 'oracle' not in shown and '100.00 % of the pixels without prediction' in shown
