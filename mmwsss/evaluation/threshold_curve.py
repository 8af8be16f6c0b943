"""Evaluating class activation maps at every background threshold in one pass over the pixels.

At threshold t a pixel's label is its argmax class where the maximum v exceeds t, else background. So a pixel
changes its label only once on the way up: it is foreground at the ``bin`` thresholds below v and background
at the others, where ``bin`` is the number of thresholds t with t < v. A histogram of (argmax class, how that
relates to the ground truth, bin) holds the confusion counts of all thresholds. How much of the objects the maps of
their own classes cover, whatever the argmax, takes a second one of the pixels that are another class's by argmax.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmwsss.evaluation.label_metrics import count_labels, scores_from_counts
from mmwsss.structures.label_file import IGNORE

DEFAULT_THRESHOLDS = tuple(i / 100 for i in range(101))
# How the ground truth of a pixel relates to its argmax class.
GT_BACKGROUND, GT_SAME, GT_OTHER, GT_IGNORED = range(4)
# Pixels handled at a time: few enough for their intermediate arrays to stay in the cache.
BLOCK = 1 << 16
MAX_CELLS = 1 << 12


@dataclass(eq=False)
class CAMHistogram:
    """Counts of pixels, which add up over images and ranks.

    Attributes:
        pred: int64 [C, 3, T + 1]: pixels by argmax class, by ground truth (background, the same class, another
            foreground class) and by the number of thresholds below their value.
        gt: int64 [C + 1]: pixels by ground truth, background first.
        own: int64 [C, T + 1]: pixels of an object whose argmax class is another one, by ground truth and by the number
            of thresholds below the map of their own class; pixels whose class has no map are not in it.
    """
    pred: np.ndarray
    gt: np.ndarray
    own: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int, num_thresholds: int) -> 'CAMHistogram':
        """Returns an empty histogram for C = ``num_classes`` and T = ``num_thresholds``."""
        return cls(np.zeros((num_classes, 3, num_thresholds + 1), np.int64), np.zeros(num_classes + 1, np.int64),
                   np.zeros((num_classes, num_thresholds + 1), np.int64))

    def __iadd__(self, other: 'CAMHistogram') -> 'CAMHistogram':
        self.pred += other.pred
        self.gt += other.gt
        self.own += other.own
        return self


def check_thresholds(thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns thresholds as float32 [T].

    Raises:
        ValueError: If there is none, or if they are not finite and strictly increasing in float32.
    """
    array = np.asarray(thresholds, np.float32)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all() or (np.diff(array) <= 0).any():
        raise ValueError(f'thresholds must be finite and strictly increasing, got {list(thresholds)}')
    return array


def label_from_cam(cam: np.ndarray, classes: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the label map of one threshold, which the histogram sums up for all.

    Args:
        cam: float32 [K, H, W].
        classes: int64 [K], 0-based ids of the maps' classes.
        threshold: A pixel is its argmax class (the first one of equal maxima) where the maximum exceeds this
            number, rounded to float32.

    Returns:
        uint8 [H, W]: 0 background, k + 1 for class k.
    """
    if len(classes) == 0:
        return np.zeros(cam.shape[1:], np.uint8)
    foreground = (np.asarray(classes) + 1).astype(np.uint8)[cam.argmax(axis=0)]
    return np.where(cam.max(axis=0) > np.float32(threshold), foreground, np.uint8(0))


def cam_histogram(cam: np.ndarray | Tensor, classes: np.ndarray | Tensor, gt: np.ndarray | Tensor,
                  thresholds: Sequence[float] | np.ndarray, num_classes: int) -> CAMHistogram:
    """Counts the pixels of one image, in one pass for any number of thresholds.

    Args:
        cam: float32 [K, H, W], on the CPU.
        classes: int64 [K], distinct 0-based ids of the maps' classes; K may be 0.
        gt: uint8 [H, W]: 0 background, k + 1 for class k; 255 is left out of all counts.
        thresholds: float32 [T], strictly increasing.
        num_classes: C, at most 254.

    Returns:
        The counts.

    Raises:
        ValueError: If shapes differ, a class id or a label is out of range, or ``cam`` is NaN somewhere.
    """
    cam, classes, gt = (np.asarray(x) for x in (cam, classes, gt))
    thresholds = check_thresholds(thresholds)
    _check(cam, classes, gt, num_classes)
    histogram = CAMHistogram.zeros(num_classes, len(thresholds))
    flat = gt.ravel()
    histogram.gt += count_labels(flat, num_classes)
    if len(classes) == 0:
        return histogram
    maps = np.ascontiguousarray(cam, np.float32).reshape(len(classes), -1)
    bins = _Bins(thresholds)
    counts = np.zeros(len(classes) * 4 * bins.size, np.int64)
    own_counts = np.zeros(len(classes) * bins.size, np.int64)
    labels = (classes + 1).astype(np.uint8)
    place = np.full(256, -1, np.int16)  # of a label's map
    place[labels] = np.arange(len(classes))
    for start in range(0, flat.size, BLOCK):
        block = flat[start:start + BLOCK]
        value, index, label = _max_argmax(maps[:, start:start + BLOCK], labels)
        relation = _relate(block, label)
        if len(classes) > 1:
            # Few pixels: of those that are their own class's by argmax, the maximum is the value asked for.
            other = np.flatnonzero(relation == GT_OTHER)
            own = place.take(block.take(other))
            other, own = other[own >= 0], own[own >= 0]
            own_counts += _count(own.astype(np.int32) * bins.size + bins(maps[own, start + other]), len(own_counts))
        row = index.astype(np.int32)
        row *= 4
        row += relation
        row *= bins.size
        row += bins(value)
        counts += _count(row, len(counts))
    by_bin = bins.merge(counts.reshape(len(classes), 4, bins.size))
    histogram.pred[classes] = by_bin[:, :GT_IGNORED]
    histogram.own[classes] = bins.merge(own_counts.reshape(len(classes), bins.size))
    return histogram


def _count(keys: np.ndarray, size: int) -> np.ndarray:
    """Returns how often each key below ``size`` is there, int64 [size]."""
    # np.bincount would copy the keys to 8 bytes each.
    return torch.bincount(torch.from_numpy(keys), minlength=size).numpy()


def _check(cam: np.ndarray, classes: np.ndarray, gt: np.ndarray, num_classes: int) -> None:
    if not 1 <= num_classes <= 254:
        raise ValueError(f'8-bit labels have room for 1 to 254 classes, not {num_classes}')
    if classes.ndim != 1 or cam.shape != (len(classes), *gt.shape) or gt.ndim != 2 or gt.dtype != np.uint8:
        raise ValueError(f'expected maps [K, H, W], K classes and uint8 ground truth [H, W], got {cam.shape}, '
                         f'{classes.shape} and {gt.dtype} {gt.shape}')
    if len(set(classes.tolist())) != len(classes) or not all(0 <= c < num_classes for c in classes.tolist()):
        raise ValueError(f'classes {classes.tolist()} are not distinct ids below {num_classes}')


def _max_argmax(maps: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns maximum, argmax and label of the argmax (both uint8) over the first axis; the first maximum wins."""
    value = maps[0].copy()
    index = np.zeros(value.shape, np.uint8)
    label = np.full(value.shape, labels[0])
    # Bit operations and maxima instead of masked assignments, which are ten times slower.
    for k in range(1, len(maps)):
        higher = maps[k] > value
        np.maximum(value, maps[k], out=value)
        chosen = -higher.view(np.uint8)  # 255 or 0
        # k grows, so the maximum of the indices is the last one that was higher.
        np.maximum(index, chosen & np.uint8(k), out=index)
        label ^= (label ^ labels[k]) & chosen
    if np.isnan(value.max()):
        raise ValueError('the maps have values that are not a number')
    return value, index, label


def _relate(gt: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Returns GT_BACKGROUND, GT_SAME, GT_OTHER or GT_IGNORED (uint8) of each pixel."""
    relation = (gt != 0).view(np.uint8) * np.uint8(GT_OTHER)
    relation -= (gt == label).view(np.uint8)
    relation += (gt == IGNORE).view(np.uint8)
    return relation


class _Bins:
    """Finds the number of thresholds below a value; several times faster than a binary search for each.

    The axis is cut into equal cells, so small that no two thresholds share one. The cell of a value comes from
    a multiplication and a truncation, both monotone: a threshold in a lower (higher) cell is below (not below)
    the value, and only a threshold in the value's own cell has to be compared with it. Each cell counts in two
    halves, below and above its threshold, which :meth:`merge` sums to bins. Where thresholds lie closer than
    the smallest cells, the binary search is used.

    Args:
        thresholds: float32 [T], strictly increasing.
    """

    def __init__(self, thresholds: np.ndarray) -> None:
        self.thresholds = thresholds
        self.cells = 1 << 6
        while self.cells <= MAX_CELLS and (np.diff(self._cell(thresholds)) == 0).any():
            self.cells *= 2
        self.exact = self.cells > MAX_CELLS
        if self.exact:
            self.size = len(thresholds) + 1
            return
        own_cell = self._cell(thresholds)
        # A value is never above infinity: cells without threshold count in their lower half.
        self.table = np.full(self.cells + 1, np.inf, np.float32)
        self.table[own_cell] = thresholds
        self.size = 2 * len(self.table)
        self.starts = np.concatenate([[0], 2 * own_cell + 1])

    def _cell(self, value: np.ndarray) -> np.ndarray:
        scaled = value * np.float32(self.cells)
        # Values outside [0, 1] share the outer cells, which keeps the order.
        return np.clip(scaled, 0, self.cells, out=scaled).astype(np.int32)

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """Returns the keys (int32, below ``size``) of float32 values."""
        if self.exact:
            return np.searchsorted(self.thresholds, value, side='left').astype(np.int32)
        key = self._cell(value)
        above = value > self.table.take(key)
        key *= 2
        key += above
        return key

    def merge(self, counts: np.ndarray) -> np.ndarray:
        """Sums counts by key [..., size] to counts by bin [..., T + 1]."""
        return counts if self.exact else np.add.reduceat(counts, self.starts, axis=-1)


def curve_from_histogram(histogram: CAMHistogram) -> dict[str, np.ndarray]:
    """Computes the scores at every threshold.

    Args:
        histogram: The counts of a data set.

    Returns:
        The arrays of :func:`mmwsss.evaluation.label_metrics.scores_from_counts`, with a last axis for the T
        thresholds; and ``foreground_recall`` [T] in [0, 1]: of the pixels of all objects, whatever their class, the
        share where the map of their own class exceeds the threshold, be it the highest or not. At 0 it is the recall
        of the activated regions in section 3 of InferCam (Fig. 2). NaN without objects.
    """
    # A pixel of bin b is foreground at the thresholds 0 ... b - 1.
    foreground, own = _above(histogram.pred), _above(histogram.own)
    background_as_foreground, true, _ = np.moveaxis(foreground, 1, 0)
    gt = histogram.gt[:, None]
    predicted = foreground.sum(axis=1)
    true_background = gt[:1] - background_as_foreground.sum(axis=0, keepdims=True)
    predicted_background = gt.sum(axis=0, keepdims=True) - predicted.sum(axis=0, keepdims=True)
    tp = np.concatenate([true_background, true])
    fp = np.concatenate([predicted_background, predicted]) - tp
    objects = gt[1:].sum()
    covered = (true + own).sum(axis=0)
    recall = covered / objects if objects else np.full(covered.shape, np.nan)
    return dict(scores_from_counts(tp, fp, gt - tp), foreground_recall=recall)


def _above(counts: np.ndarray) -> np.ndarray:
    """Sums counts by bin [..., T + 1] to counts of the pixels above each threshold [..., T]."""
    return counts[..., ::-1].cumsum(axis=-1)[..., -2::-1]
