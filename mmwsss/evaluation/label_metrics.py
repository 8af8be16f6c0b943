"""Evaluating label maps: confusion counts, and the scores that follow from counts."""
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mmwsss.structures.label_file import IGNORE, read_label
from mmwsss.utils.errors import UserError


def load_mask(path: str | os.PathLike, size: tuple[int, int], num_classes: int,
              mask_values: Mapping[Any, int] | None = None) -> np.ndarray:
    """Reads a ground truth mask and checks that it can be used.

    Args:
        path: The mask, see :func:`mmwsss.structures.label_file.read_label`.
        size: (H, W) that it must have, that of its image.
        num_classes: C.
        mask_values: What its values or colours stand for, see there.

    Returns:
        uint8 [H, W].

    Raises:
        UserError: If it is unreadable, of another size, or has a label above C that is not 255.
    """
    mask = read_label(path, mask_values)
    if mask.shape != tuple(size):
        raise UserError(f'{path}: the mask is {_size(mask.shape)} instead of {_size(size)} (height x width)')
    try:
        count_labels(mask, num_classes)
    except ValueError as error:
        raise UserError(f'{path}: {error}; mend the mask or the class list') from error
    return mask


def _size(shape: tuple[int, ...]) -> str:
    return ' x '.join(map(str, shape))


def count_labels(label: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the pixels of each label.

    Args:
        label: uint8 of any shape: 0 background, k + 1 for class k, 255 ignore.
        num_classes: C.

    Returns:
        int64 [C + 1], without the ignored pixels.

    Raises:
        ValueError: If there is a label above C that is not 255.
    """
    # Unlike np.bincount, this one counts bytes without a copy to 8 bytes each.
    flat = torch.from_numpy(np.ascontiguousarray(label).reshape(-1))
    counts = torch.bincount(flat, minlength=256).numpy()
    unknown = np.flatnonzero(counts[num_classes + 1:IGNORE])
    if len(unknown):
        raise ValueError(f'has the label {num_classes + 1 + unknown[0]}, but there are {num_classes} classes '
                         f'(0 is background, {IGNORE} is ignore)')
    return counts[:num_classes + 1]


def confusion_matrix(pred: np.ndarray, gt: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels by ground truth and prediction.

    Args:
        pred: uint8 [H, W]: 0 background, k + 1 for class k, 255 no prediction.
        gt: uint8 [H, W] in the same way; pixels of 255 are left out of all counts.
        num_classes: C.

    Returns:
        int64 [C + 1, C + 2]: rows are the ground truth, columns the prediction, the last one 255.

    Raises:
        ValueError: If shapes differ or there is an unknown label.
    """
    if pred.shape != gt.shape:
        raise ValueError(f'the prediction is {_size(pred.shape)}, but its mask is {_size(gt.shape)} (height x width)')
    for label in (pred, gt):
        count_labels(label, num_classes)
    valid = gt != IGNORE
    column = np.minimum(pred[valid], num_classes + 1).astype(np.intp)
    key = gt[valid] * np.intp(num_classes + 2) + column
    return np.bincount(key, minlength=(num_classes + 1) * (num_classes + 2)).reshape(num_classes + 1, -1)


def scores_from_confusion(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Computes the scores of a confusion matrix.

    A pixel without prediction is a miss of its class and no one's false positive, as in mmseg's IoUMetric.

    Args:
        confusion: int64 [C + 1, C + 2] of :func:`confusion_matrix`, summed over images.

    Returns:
        The arrays of :func:`scores_from_counts`, and ``ignored_share``: the share of the pixels without
        prediction (NaN if there is no pixel at all).
    """
    tp = np.diagonal(confusion)
    with np.errstate(invalid='ignore'):
        share = confusion[:, -1].sum() / np.float64(confusion.sum())
    scores = scores_from_counts(tp, confusion[:, :-1].sum(axis=0) - tp, confusion.sum(axis=1) - tp)
    return dict(scores, ignored_share=share)


def scores_from_counts(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> dict[str, np.ndarray]:
    """Computes the scores of classes from their counts.

    A class for which a fraction is 0 / 0 (or, for SEAM's two, which has no true positive) is NaN there and left
    out of the mean.

    Args:
        tp: True positive pixels, integers [C + 1, ...], background first. Further axes are kept.
        fp: False positive pixels.
        fn: False negative pixels.

    Returns:
        Float64 arrays. Per class [C + 1, ...]: ``iou`` = TP / (TP + FP + FN). Per foreground class [C, ...]:
        ``fn_ratio`` = FN / TP, ``fp_ratio`` = FP / TP. Means over the classes [...]: ``mIoU``; ``precision`` of
        TP / (TP + FP) and ``recall`` of TP / (TP + FN), with the background; ``m_FN`` and ``m_FP`` of the two
        ratios (SEAM eq. 13, 14), without it. ``left_out``: {name of a mean: integers [...], the number of classes
        left out of it}.
    """
    precision, recall, iou = _divide(tp, tp + fp), _divide(tp, tp + fn), _divide(tp, tp + fp + fn)
    fn_ratio, fp_ratio = _divide(fn[1:], tp[1:]), _divide(fp[1:], tp[1:])
    terms = dict(mIoU=iou, precision=precision, recall=recall, m_FN=fn_ratio, m_FP=fp_ratio)
    return dict(iou=iou, fn_ratio=fn_ratio, fp_ratio=fp_ratio,
                left_out={name: np.isnan(term).sum(axis=0) for name, term in terms.items()},
                **{name: _nanmean(term) for name, term in terms.items()})


def nan_to_none(value: float) -> float | None:
    """Returns a score as a json file has it: ``None`` where it is not a number."""
    return None if np.isnan(value) else float(value)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns the quotient in float64, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator != 0)


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the first axis without NaN; NaN where nothing is left."""
    return _divide(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))
