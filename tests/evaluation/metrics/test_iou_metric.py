import json

import mmseg.evaluation
import numpy as np
import pytest
import torch

from mmwsss.evaluation.evaluation_report import counts_report, label_report
from mmwsss.evaluation.label_metrics import confusion_matrix
from mmwsss.evaluation.metrics import IoUMetric
from mmwsss.experiments.options import flat_options
from mmwsss.registry import METRICS

CLASSES = ('background', 'cat', 'dog')


def samples(seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        pred, gt = (rng.choice([0, 1, 2, 255], size=(5, 7), p=[.3, .3, .3, .1]).astype(np.uint8) for _ in range(2))
        yield pred, gt


def run(metric):
    metric.dataset_meta = dict(classes=CLASSES)
    for pred, gt in samples():
        metric.process({}, [dict(pred_sem_seg=dict(data=torch.from_numpy(pred)[None].long()),
                                 gt_sem_seg=dict(data=torch.from_numpy(gt)[None].long()))])
    return metric.evaluate(4)


def test_metrics_are_mmsegs_and_the_table_is_ours():
    metric = METRICS.build(dict(type='IoUMetric'))
    assert type(metric) is IoUMetric and metric.table is None
    metrics = run(metric)
    assert metrics == run(mmseg.evaluation.IoUMetric())
    cells = list(metric.table.columns[1].cells)
    assert list(metric.table.columns[0].cells) == [*CLASSES, 'mean']
    assert float(cells[-1]) == pytest.approx(metrics['mIoU'], abs=.005)


def test_masks_that_ignore_everything_are_said(monkeypatch):
    said = []
    monkeypatch.setattr('mmwsss.evaluation.metrics.iou_metric.print_log', lambda text, *_, **__: said.append(text))
    run(METRICS.build(dict(type='IoUMetric')))
    assert not said
    metric = METRICS.build(dict(type='IoUMetric'))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, [dict(pred_sem_seg=dict(data=torch.zeros(1, 2, 2, dtype=torch.long)),
                             gt_sem_seg=dict(data=torch.full((1, 2, 2), 255)))])
    metric.evaluate(1)
    assert said == ['every pixel of the masks is 255 (ignore), so nothing was evaluated']


def test_a_segmentor_that_gives_one_class_to_everything_is_said(monkeypatch):
    said = []
    monkeypatch.setattr('mmwsss.evaluation.metrics.iou_metric.print_log', lambda text, *_, **__: said.append(text))
    for gt in ([[0, 0]], [[0, 1]]):
        metric = METRICS.build(dict(type='IoUMetric'))
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process({}, [dict(pred_sem_seg=dict(data=torch.zeros(1, 1, 2, dtype=torch.long)),
                                 gt_sem_seg=dict(data=torch.tensor([gt])))])
        metric.evaluate(1)
    message, = said
    assert message.startswith("every pixel of every image is predicted as 'background': the training has learned")


def test_report_in_a_file(tmp_path):
    metrics = run(METRICS.build(dict(type='IoUMetric', out_file=str(tmp_path / 'new/report.json'))))
    report = json.loads((tmp_path / 'new/report.json').read_text())
    confusion = sum(confusion_matrix(pred, gt, 2) for pred, gt in samples())
    expected = label_report(confusion, CLASSES[1:], 4)
    assert report.pop('curve') == expected.pop('curve')
    assert flat_options(report) == pytest.approx(flat_options(expected))
    assert 100 * report['mIoU'] == pytest.approx(metrics['mIoU'], abs=.005)


def test_report_is_that_of_the_confusion_matrix():
    confusion, sums = 0, np.zeros((3, 3), int)
    for pred, gt in samples(1):
        confusion = confusion + confusion_matrix(pred, gt, 2)
        valid = gt != 255
        for k in range(3):
            sums[:, k] += [((pred == k) & (gt == k)).sum(), ((pred == k) & valid).sum(), (gt == k).sum()]
    found, expected = (flat_options(report) for report in (
        counts_report(*sums, CLASSES[1:], 4), label_report(confusion, CLASSES[1:], 4)))
    assert found.pop('curve') == expected.pop('curve') == []
    assert found == pytest.approx(expected)


def test_nothing_to_evaluate():
    assert counts_report(*np.zeros((3, 3), int), CLASSES[1:], 0)['mIoU'] is None
