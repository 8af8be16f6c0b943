"""What is said about the localization of objects: errors, accuracies and where their thresholds come from."""
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from mmwsss.evaluation.box_localization import (
    BOX_KINDS,
    ERRORS,
    LocalizationCounts,
    iou_curve,
    pixel_average_precision,
)

ORACLE = 'oracle'


def localization_report(counts: LocalizationCounts, thresholds: Sequence[float], ious: Sequence[float],
                        chosen: dict[str, Any] | None = None, class_filter: str | None = None) -> dict[str, Any]:
    """Computes everything from counts.

    Args:
        counts: The counts of all images.
        thresholds: T thresholds.
        ious: I IoUs of the benchmark.
        chosen: Thresholds that were chosen elsewhere: ``source`` (words), ``max``, ``union`` and ``benchmark``
            (floats). ``None``: the best ones on these very images are taken, and said to be ``'oracle'``.
        class_filter: Which maps there were, see :class:`mmwsss.models.LocalizationClassifier`.

    Returns:
        Fractions. ``num_images``; ``threshold_source``; ``errors`` {box kind: {``threshold``, ``gt_known``, ``top1``,
        ``top5``}}; ``oracle_errors``, the same at the best thresholds; ``classification_error`` {``top1``, ``top5``}.
        Of images with boxes ``MaxBoxAcc``, ``MaxBoxAccV2`` (by definition at the best thresholds of the largest and of
        any component) with ``accuracy_of_iou`` of both, and ``box_acc`` at the chosen threshold. Of images with masks
        ``PxAP``, ``peak_IoU`` and ``peak_threshold``. ``curves``: everything at all thresholds. ``None`` where there is
        nothing to compute: without boxes or masks, and GT-known where the true class may have no map
        (``class_filter`` is not ``'label'``).
    """
    thresholds = [round(float(t), 6) for t in thresholds]
    num_images, with_boxes, with_masks = counts.images.tolist()
    report: dict[str, Any] = dict(num_images=num_images, num_with_boxes=with_boxes, num_with_masks=with_masks,
                                  class_filter=class_filter, threshold_source=chosen['source'] if chosen else ORACLE,
                                  ious=list(ious), thresholds=thresholds)
    report['classification_error'] = {name: _rest(count, num_images)
                                      for name, count in zip(('top1', 'top5'), counts.classified.tolist())}
    curves: dict[str, Any] = {}
    report.update(_box_part(counts, thresholds, ious, chosen, class_filter, curves) if with_boxes else dict(
        errors=None, oracle_errors=None, MaxBoxAcc=None, MaxBoxAccV2=None, accuracy_of_iou=None, box_acc=None))
    report.update(PxAP=None, peak_IoU=None, peak_threshold=None, peak_image_IoU=None)
    if with_masks:
        pixels = np.stack([counts.foreground, counts.background])
        curves['IoU'] = iou_curve(pixels).tolist()
        curves['image_IoU'] = (counts.image_iou / with_masks).tolist()
        best = int(np.argmax(curves['IoU']))
        ap = pixel_average_precision(pixels)
        report.update(PxAP=None if np.isnan(ap) else ap, peak_IoU=curves['IoU'][best], peak_threshold=thresholds[best],
                      peak_image_IoU=max(curves['image_IoU']))
    report['curves'] = curves
    return report


def _box_part(counts: LocalizationCounts, thresholds: list[float], ious: Sequence[float],
              chosen: dict[str, Any] | None, class_filter: str | None, curves: dict[str, Any]) -> dict[str, Any]:
    total = int(counts.images[1])
    errors = 1 - counts.hits / total
    known = [name for name in ERRORS if name != 'gt_known' or class_filter in (None, 'label')]
    part: dict[str, Any] = dict(errors={}, oracle_errors={})
    for kind, of_kind in zip(BOX_KINDS, errors):
        curves[kind] = {name: of_kind[ERRORS.index(name)].tolist() for name in known}
        best = int(np.argmin(curves[kind][known[0]]))
        used = best if chosen is None else _nearest(thresholds, chosen[kind])
        for name, place in (('errors', used), ('oracle_errors', best)):
            part[name][kind] = dict(dict.fromkeys(ERRORS), threshold=thresholds[place],
                                    **{error: curves[kind][error][place] for error in known})
    accuracies = {}
    for name, hits in (('MaxBoxAcc', counts.largest), ('MaxBoxAccV2', counts.any)):
        curves[name] = (hits / total).tolist()
        accuracies[name] = {str(iou): max(curve) for iou, curve in zip(ious, curves[name])}
    part['accuracy_of_iou'] = accuracies
    part['MaxBoxAcc'] = accuracies['MaxBoxAcc'].get('0.5')
    part['MaxBoxAccV2'] = sum(accuracies['MaxBoxAccV2'].values()) / len(ious)
    row = list(ious).index(0.5) if 0.5 in ious else 0
    best = int(np.argmax(counts.largest[row]))
    used = best if chosen is None else _nearest(thresholds, chosen['benchmark'])
    part['box_acc'] = dict(threshold=thresholds[used], iou=ious[row], accuracy=curves['MaxBoxAcc'][row][used],
                           best_threshold=thresholds[best])
    return part


def chosen_thresholds(report: dict[str, Any], source: str) -> dict[str, Any]:
    """Takes the best thresholds out of a report, for other images.

    Args:
        report: See :func:`localization_report`; of a validation split with full labels.
        source: What the other report is to say about them.

    Raises:
        ValueError: If the report is not of boxes.
    """
    try:
        return dict(source=source, benchmark=float(report['box_acc']['best_threshold']),
                    **{kind: float(report['oracle_errors'][kind]['threshold']) for kind in BOX_KINDS})
    except (KeyError, TypeError) as error:
        raise ValueError('holds no thresholds of boxes') from error


def localization_table(report: dict[str, Any]) -> Table:
    """Returns the main numbers, in percent, as a table."""
    table = Table(title=f'localization of {report["num_images"]} images; thresholds: {report["threshold_source"]}')
    for column in ('box', 'threshold', 'top-1 error', 'top-5 error', 'GT-known error'):
        table.add_column(column, justify='right')
    for kind, errors in (report['errors'] or {}).items():
        table.add_row(kind, f'{errors["threshold"]:.3f}', *(_percent(errors[e]) for e in ('top1', 'top5', 'gt_known')))
    table.caption = ', '.join(f'{name} {_percent(report[name])}' for name in (
        'MaxBoxAcc', 'MaxBoxAccV2', 'PxAP', 'peak_IoU') if report[name] is not None)
    return table


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.2f}'


def _rest(count: int, total: int) -> float | None:
    return 1 - count / total if total else None


def _nearest(thresholds: list[float], wanted: float) -> int:
    return int(np.argmin(np.abs(np.array(thresholds) - wanted)))
