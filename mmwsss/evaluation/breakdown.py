"""What the mean IoU of label maps does not tell: which kind of error, in which kind of image, in which image."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from mmwsss.evaluation.label_metrics import nan_to_none, scores_from_confusion

# Groups by the number of classes in an image; the last one has all images with as many or more.
GROUPS = ('1', '2', '3+')
ERRORS = ('wrong_class', 'missed', 'false_foreground')
IMAGE_COLUMNS = ('image', 'classes', 'mIoU', 'precision', 'recall', *ERRORS)


def error_shares(confusion: np.ndarray) -> dict[str, float | None]:
    """Returns which share of the pixels is wrong in which way.

    Args:
        confusion: int64 [C + 1, C + 2] of :func:`mmwsss.evaluation.label_metrics.confusion_matrix`.

    Returns:
        Fractions of all evaluated pixels: ``wrong_class``, one class taken for another; ``missed``, a class taken for
        background or left without prediction; ``false_foreground``, background taken for a class. ``None`` where
        nothing is evaluated.
    """
    total = confusion.sum()
    classes = confusion[1:, 1:-1]
    counts = (classes.sum() - np.trace(classes), confusion[1:, 0].sum() + confusion[1:, -1].sum(),
              confusion[0, 1:-1].sum())
    return {name: float(count / total) if total else None for name, count in zip(ERRORS, counts)}


def num_classes_in(confusion: np.ndarray) -> int:
    """Returns how many foreground classes the mask of an image shows."""
    return int((confusion[1:].sum(axis=1) > 0).sum())


def group_of(confusion: np.ndarray) -> str | None:
    """Returns the group of :data:`GROUPS` of an image; ``None`` for one without foreground."""
    count = num_classes_in(confusion)
    return GROUPS[min(count, len(GROUPS)) - 1] if count else None


def image_row(stem: str, confusion: np.ndarray) -> dict[str, Any]:
    """Returns the figures of one image under the names of :data:`IMAGE_COLUMNS`; ``None`` where there is none.

    ``mIoU`` is the mean over background and classes that are in the mask or in the prediction; ``precision`` and
    ``recall`` are those of its foreground, TP / (TP + FP) and TP / (TP + FN) with the pixels of all classes added up.
    """
    foreground = confusion[1:, 1:-1]
    right = np.trace(foreground)
    predicted, there = confusion[:, 1:-1].sum(), confusion[1:].sum()
    miou = nan_to_none(scores_from_confusion(confusion)['mIoU'])
    return dict(image=stem, classes=num_classes_in(confusion), mIoU=miou,
                precision=float(right / predicted) if predicted else None,
                recall=float(right / there) if there else None, **error_shares(confusion))


def breakdown(confusions: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict[str, Any]:
    """Breaks the evaluation of label maps down.

    Args:
        confusions: Image -> int64 [C + 1, C + 2]; at least one.
        classes: Names of the C classes.

    Returns:
        Json values: ``num_images``; ``mIoU`` and ``per_class`` of all; ``errors``, see :func:`error_shares`;
        ``by_num_classes``, {group of :data:`GROUPS`: {num_images, mIoU, errors}}. The IoU of a group is that of its
        images taken together.
    """
    total = sum(confusions.values())
    scores = scores_from_confusion(total)
    groups = {}
    for name in GROUPS:
        own = [confusion for confusion in confusions.values() if group_of(confusion) == name]
        miou = scores_from_confusion(sum(own))['mIoU'] if own else np.nan
        groups[name] = dict(num_images=len(own), mIoU=nan_to_none(miou),
                            errors=error_shares(sum(own)) if own else None)
    return dict(num_images=len(confusions), mIoU=nan_to_none(scores['mIoU']), errors=error_shares(total),
                by_num_classes=groups, per_class=dict(zip(('background', *classes), map(nan_to_none, scores['iou']))))


def breakdown_table(found: Mapping[str, Any], title: str) -> Table:
    """Lays what :func:`breakdown` returns out as a table: a row a group and one for all images, in percent."""
    table = Table(title=Text(title), title_justify='left')
    for column in ('classes in the image', 'images', 'mIoU', 'wrong class', 'missed', 'false foreground'):
        table.add_column(column, justify='left' if column.startswith('classes') else 'right')
    for name, group in found['by_num_classes'].items():
        table.add_row(name, str(group['num_images']), *_percent(group))
    table.add_section()
    table.add_row('all', str(found['num_images']), *_percent(found))
    return table


def _percent(group: Mapping[str, Any]) -> list[str]:
    values = [group['mIoU'], *(group['errors'] or dict.fromkeys(ERRORS)).values()]
    return ['-' if value is None else f'{100 * value:.2f}' for value in values]
