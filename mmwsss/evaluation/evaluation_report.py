"""The report of an evaluation: what goes into the json file, and its table."""
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from rich.console import Console
from rich.table import Table

from mmwsss.evaluation.label_metrics import nan_to_none, scores_from_confusion, scores_from_counts
from mmwsss.evaluation.threshold_curve import CAMHistogram, curve_from_histogram
from mmwsss.utils.console import WIDE
from mmwsss.utils.fileio import write_json

MEANS = ('mIoU', 'm_FN', 'm_FP', 'precision', 'recall')
CURVES = (*MEANS, 'foreground_recall')  # what a report has for every threshold


def cam_report(histogram: CAMHistogram, thresholds: Sequence[float], classes: Sequence[str], num_images: int,
               **extra: Any) -> dict[str, Any]:
    """Builds the report of class activation maps over all thresholds.

    Args:
        histogram: The counts of the data set.
        thresholds: Its T thresholds, as they are to be printed.
        classes: Names of the C foreground classes.
        num_images: Number of images counted.
        extra: Further entries of the report.

    Returns:
        Json values; fractions, not percent; ``None`` where nothing can be computed.

        * ``mIoU``, ``threshold``: the best mIoU (background counts as a class) and the lowest threshold with it.
          It is chosen on the ground truth: ``oracle_threshold`` is true.
        * at this threshold: ``per_class`` {'background' or class: IoU}; ``precision`` and ``recall``, means of
          TP / (TP + FP) and TP / (TP + FN) over classes and background; ``m_FN`` and ``m_FP``, means of FN / TP and
          FP / TP over the classes (SEAM eq. 13, 14), with ``per_class_m_FN`` and ``per_class_m_FP``; ``left_out``
          {mean: number of classes that are null and not in it}; ``foreground_recall``, the share of the pixels of
          objects where the map of their own class exceeds the threshold, see
          :func:`mmwsss.evaluation.threshold_curve.curve_from_histogram`.
        * ``curve``: [{threshold, mIoU, m_FN, m_FP, precision, recall, foreground_recall}] for all thresholds. Older
          files have no ``foreground_recall``.
        * ``num_images`` and ``extra``.
    """
    scores = curve_from_histogram(histogram)
    miou = scores['mIoU']
    curve = [dict(threshold=float(t), **{name: nan_to_none(scores[name][i]) for name in CURVES})
             for i, t in enumerate(thresholds)]
    best = None if np.isnan(miou).all() else int(np.nanargmax(miou))
    threshold = None if best is None else float(thresholds[best])
    report = _report(_at(scores, best or 0), classes)
    return dict(report, foreground_recall=curve[best or 0]['foreground_recall'], threshold=threshold,
                oracle_threshold=True, curve=curve, num_images=num_images, **extra)


def miou_at(histogram: CAMHistogram, thresholds: Sequence[float], threshold: float | None) -> float | None:
    """Returns the mIoU of counts at one of their thresholds; ``None`` where nothing was counted."""
    if threshold is None or not histogram.gt.any():
        return None
    return nan_to_none(curve_from_histogram(histogram)['mIoU'][list(thresholds).index(threshold)])


def label_report(confusion: np.ndarray, classes: Sequence[str], num_images: int, **extra: Any) -> dict[str, Any]:
    """Builds the report of label maps.

    Args:
        confusion: int64 [C + 1, C + 2], see :func:`mmwsss.evaluation.label_metrics.confusion_matrix`.
        classes: Names of the C foreground classes.
        num_images: Number of images counted.
        extra: Further entries of the report.

    Returns:
        The entries of :func:`cam_report` without a choice of threshold (``threshold`` is ``None``, ``curve`` empty,
        ``oracle_threshold`` false) and without ``foreground_recall``; and ``ignored_share``: the share of the pixels
        with prediction 255, which count as misses.
    """
    scores = scores_from_confusion(confusion)
    return _label_report(scores, scores.pop('ignored_share'), classes, num_images, **extra)


def counts_report(tp: np.ndarray, predicted: np.ndarray, gt: np.ndarray, classes: Sequence[str],
                  num_images: int) -> dict[str, Any]:
    """Builds the report of :func:`label_report` from the sums that mmseg's IoUMetric keeps.

    Args:
        tp: Pixels [C + 1] of each class that are predicted to be of it, background first.
        predicted: Pixels [C + 1] by prediction.
        gt: Pixels [C + 1] by ground truth.
        classes: Names of the C foreground classes.
        num_images: Number of images counted.
    """
    share = np.float64(1 - predicted.sum() / gt.sum()) if gt.sum() else np.float64('nan')
    return _label_report(scores_from_counts(tp, predicted - tp, gt - tp), share, classes, num_images)


def _label_report(scores: dict[str, Any], ignored_share: float, classes: Sequence[str], num_images: int,
                  **extra: Any) -> dict[str, Any]:
    return dict(_report(scores, classes), threshold=None, oracle_threshold=False, curve=[],
                ignored_share=nan_to_none(ignored_share), num_images=num_images, **extra)


def _at(scores: dict[str, Any], index: int) -> dict[str, Any]:
    """Returns the scores at one threshold."""
    return {name: _at(value, index) if isinstance(value, dict) else value[..., index]
            for name, value in scores.items()}


def _report(scores: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    return dict(per_class=dict(zip(('background', *classes), map(nan_to_none, scores['iou']))),
                per_class_m_FN=dict(zip(classes, map(nan_to_none, scores['fn_ratio']))),
                per_class_m_FP=dict(zip(classes, map(nan_to_none, scores['fp_ratio']))),
                left_out={name: int(scores['left_out'][name]) for name in MEANS},
                **{name: nan_to_none(scores[name]) for name in MEANS})


def log_table(table: Table) -> None:
    """Writes a table into MMEngine's log."""
    console = Console(file=io.StringIO(), width=WIDE)
    console.print(table)
    print_log('\n' + console.file.getvalue(), logger='current')


def write_report(report: dict[str, Any], out_file: str | None) -> None:
    """Writes a report as json, in a folder that is made where it is missing; with ``out_file=None`` nothing."""
    if out_file is not None:
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        write_json(out_file, report)


def report_table(report: dict[str, Any], title: str) -> Table:
    """Lays a report out as a table.

    Args:
        report: From :func:`cam_report` or :func:`label_report`.
        title: Title of the table.

    Returns:
        A rich table: IoU, m_FN and m_FP of every class in a row, then the means. IoU, precision and recall are in
        percent. A threshold that was chosen on ground truth is called "oracle".
    """
    table = Table(title=title, caption=_caption(report), caption_justify='left', min_width=60)
    for column in ('class', 'IoU %', 'm_FN', 'm_FP'):
        table.add_column(column, justify='left' if column == 'class' else 'right')
    for name, iou in report['per_class'].items():
        table.add_row(name, _text(iou, 100), _text(report['per_class_m_FN'].get(name)),
                      _text(report['per_class_m_FP'].get(name)))
    table.add_section()
    table.add_row('mean', _text(report['mIoU'], 100), _text(report['m_FN']), _text(report['m_FP']), style='bold')
    return table


def _caption(report: dict[str, Any]) -> str:
    lines = [f'{report["num_images"]} images, '
             + ', '.join(f'{name} {_text(report[name], 100)} %' for name in ('precision', 'recall'))]
    if report['threshold'] is not None:
        lines.append(f'threshold {report["threshold"]:g} (oracle: chosen on ground truth)')
    if report.get('ignored_share'):
        lines.append(f'{_text(report["ignored_share"], 100)} % of the pixels without prediction: misses')
    if report['left_out']['m_FN']:
        lines.append(f'{report["left_out"]["m_FN"]} classes without true positives: not in m_FN, m_FP')
    return '\n'.join(lines)


def _text(value: float | None, factor: float = 1) -> str:
    return '-' if value is None else f'{factor * value:.2f}'
