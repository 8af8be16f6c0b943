"""Localization of single objects: boxes and masks out of a map at every threshold, compared with the ground truth.

Two protocols. That of CAM, SPA and SSA looks at boxes in the image itself and counts an image as localized where the
IoU with any of its ground-truth boxes is above 0.5. That of "Evaluating Weakly Supervised Object Localization Methods
Right" (CVPR 2020, TPAMI 2022) has maps of 224 x 224 pixels with 256 values, inclusive box coordinates and IoU at or
above a number; its conventions are those of the released code (clovaai/wsolevaluation), as the functions say.
"""
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mmwsss.evaluation.component_tree import component_tree, union_boxes

BENCHMARK_SIZE = 224
DEFAULT_IOUS = (0.3, 0.5, 0.7)
ERROR_IOU = 0.5
BOX_KINDS = ('max', 'union')
ERRORS = ('gt_known', 'top1', 'top5')
TOP_K = (1, 5)


@dataclass(eq=False)
class LocalizationCounts:
    """Counts of images and pixels for T thresholds and I IoUs, which add up over images and ranks.

    Attributes:
        hits: int64 [2, 3, T], images localized, by :data:`BOX_KINDS` and :data:`ERRORS`.
        largest: int64 [I, T], benchmark: images whose largest component fits a ground-truth box.
        any: int64 [I, T], benchmark: images of which any component fits one.
        classified: int64 [2], images whose class is among the best 1 and 5.
        foreground: int64 [T + 1], foreground pixels by the number of thresholds not above their value.
        background: int64 [T + 1], background pixels likewise.
        image_iou: float64 [T], IoU of the masks, summed over images.
        images: int64 [3], number of images; of those with boxes; of those with a mask.
    """
    hits: np.ndarray
    largest: np.ndarray
    any: np.ndarray
    classified: np.ndarray
    foreground: np.ndarray
    background: np.ndarray
    image_iou: np.ndarray
    images: np.ndarray

    @classmethod
    def zeros(cls, num_thresholds: int, num_ious: int) -> 'LocalizationCounts':
        """Returns empty counts."""
        shapes = dict(hits=(len(BOX_KINDS), len(ERRORS), num_thresholds), largest=(num_ious, num_thresholds),
                      any=(num_ious, num_thresholds), classified=(len(TOP_K),), foreground=(num_thresholds + 1,),
                      background=(num_thresholds + 1,), image_iou=(num_thresholds,), images=(3,))
        return cls(**{name: np.zeros(shape, np.float64 if name == 'image_iou' else np.int64)
                      for name, shape in shapes.items()})

    def arrays(self, kind: type) -> list[np.ndarray]:
        """Returns the arrays of whole numbers (``np.int64``) or those of floating ones (``np.float64``)."""
        return [getattr(self, field.name) for field in fields(self) if getattr(self, field.name).dtype == kind]


def box_iou(boxes: np.ndarray, others: np.ndarray, inclusive: bool = False) -> np.ndarray:
    """Computes the IoU of boxes with others.

    Args:
        boxes: [M, 4], (x0, y0, x1, y1).
        others: [G, 4].
        inclusive: x1 and y1 are the last pixels: a side is x1 - x0 + 1 long, as in clovaai/wsolevaluation.

    Returns:
        float64 [M, G]; 0 where both boxes are empty.
    """
    left, top, right, bottom = np.asarray(boxes, np.float64).T[:, :, None]
    x0, y0, x1, y1 = np.asarray(others, np.float64).T[:, None]
    width = np.maximum(np.minimum(right, x1) - np.maximum(left, x0) + inclusive, 0)
    height = np.maximum(np.minimum(bottom, y1) - np.maximum(top, y0) + inclusive, 0)
    intersection = width * height
    union = ((right - left + inclusive) * (bottom - top + inclusive)
             + (x1 - x0 + inclusive) * (y1 - y0 + inclusive) - intersection)
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def min_max(cam: np.ndarray) -> np.ndarray:
    """Brings a map [H, W] to [0, 1] by its minimum and maximum, in float32; a flat one becomes zero."""
    cam = np.asarray(cam, np.float32)
    low, high = cam.min(), cam.max()
    return (cam - low) / (high - low) if high > low else np.zeros_like(cam)


def levels_of(cam: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns for every value of a map how many thresholds are below it, int64 [H, W]."""
    return np.asarray(thresholds, np.float32).searchsorted(np.asarray(cam, np.float32))


def benchmark_levels(cam: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns the same for a map with 256 values, as clovaai/wsolevaluation compares: value > int(t * maximum).

    Args:
        cam: float32 [H, W] in [0, 1]; the value is int(255 * cam).
        thresholds: float64 [T] in [0, 1], increasing.

    Returns:
        int64 [H, W].
    """
    value = (np.asarray(cam) * 255).astype(np.uint8)
    limits = (np.asarray(thresholds, np.float64) * value.max()).astype(np.int64)
    return limits.searchsorted(np.arange(256))[value]


def resize_boxes(boxes: np.ndarray, size: tuple[int, int], target: int = BENCHMARK_SIZE) -> np.ndarray:
    """Scales boxes with an image that is resized to a square, cut to whole numbers as clovaai/wsolevaluation does.

    Args:
        boxes: [G, 4] (x0, y0, x1, y1) in the image.
        size: (H, W) of the image.
        target: Side of the square.

    Returns:
        int64 [G, 4].
    """
    sides = np.array([size[1], size[0]] * 2, np.float64)
    # Multiplied before it is divided: the last edge of an image must not become 223.99, and be cut to 223.
    return (np.asarray(boxes, np.float64) * target / sides).astype(np.int64)


def image_hits(cam: np.ndarray, gt_boxes: np.ndarray, thresholds: np.ndarray, size: str = 'pixels',
               iou: float = ERROR_IOU) -> np.ndarray:
    """Says at which thresholds an image is localized.

    Args:
        cam: float32 [H, W] in [0, 1], at the size of the image.
        gt_boxes: [G, 4] ground-truth boxes (x0, y0, x1, y1) in pixels, x1 and y1 excluded.
        thresholds: [T], increasing; foreground is what is above.
        size: What makes a component the largest, see :meth:`mmwsss.evaluation.component_tree.ComponentTree.largest`.
        iou: The IoU with one of the boxes must be above it.

    Returns:
        bool [2, T], for the box of the largest component, and for that around all foreground.
    """
    levels = levels_of(cam, thresholds)
    largest, there = component_tree(levels, len(thresholds)).largest(size)
    union = union_boxes(levels, len(thresholds))
    return np.stack([(box_iou(boxes, gt_boxes).max(axis=1) > iou) & there for boxes in (largest, union)])


def benchmark_hits(cam: np.ndarray, gt_boxes: np.ndarray, thresholds: np.ndarray,
                   ious: Sequence[float] = DEFAULT_IOUS) -> np.ndarray:
    """Says at which thresholds and IoUs an image is localized by the conventions of clovaai/wsolevaluation.

    A box ends one pixel behind its component, or at the last pixel of the map, and its sides count from first to last
    pixel; without foreground it is the box of the first pixel. Unlike there, the contours of holes are not taken for
    objects.

    Args:
        cam: float32 [S, S] in [0, 1].
        gt_boxes: int [G, 4], at the size of the map (:func:`resize_boxes`).
        thresholds: [T], increasing.
        ious: I numbers that the IoU must reach.

    Returns:
        bool [2, I, T], for the component with the largest contour (MaxBoxAcc), and for any one (MaxBoxAccV2).
    """
    levels = benchmark_levels(cam, thresholds)
    tree = component_tree(levels, len(thresholds))
    largest = tree.largest('contour')[0]
    last = np.array(cam.shape[::-1]) - 1

    boxes = np.concatenate([np.zeros((1, 4), np.int64), largest, tree.boxes])
    np.minimum(boxes[:, 2:], last, out=boxes[:, 2:])
    fit = box_iou(boxes, gt_boxes, inclusive=True).max(axis=1)
    of_largest, of_all = fit[1:len(largest) + 1], fit[len(largest) + 1:]
    best = np.stack([of_largest, tree.maximum(of_all, fit[0])])
    return best[:, None] >= np.asarray(ious)[:, None]


def mask_histogram(cam: np.ndarray, mask: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Counts foreground and background pixels by value.

    Args:
        cam: float32 [H, W] in [0, 1].
        mask: uint8 [H, W]: 0 background, 255 ignored, anything else foreground.
        thresholds: [T], increasing.

    Returns:
        int64 [2, T + 1]: of foreground and background, the pixels with 0, 1, ..., T thresholds not above their value.
    """
    count = np.asarray(thresholds, np.float32).searchsorted(np.asarray(cam, np.float32).ravel(), side='right')
    flat = mask.ravel()
    size = len(thresholds) + 1
    return np.stack([np.bincount(count[(flat != 0) & (flat != 255)], minlength=size),
                     np.bincount(count[flat == 0], minlength=size)])


def iou_curve(histogram: np.ndarray) -> np.ndarray:
    """Computes the IoU of foreground and mask at every threshold t, foreground being the pixels at or above t.

    Args:
        histogram: See :func:`mask_histogram`.

    Returns:
        float64 [T]; 0 where the union is empty.
    """
    true, false = _at_or_above(histogram)
    union = histogram[0].sum() + false
    return np.divide(true, union, out=np.zeros(len(true)), where=union > 0)


def pixel_average_precision(histogram: np.ndarray) -> float:
    """Computes PxAP: the area under the precision-recall curve of the pixels (CVPR 2020, eq. 4), as a step function.

    Args:
        histogram: See :func:`mask_histogram`; of all images together.

    Returns:
        A fraction; NaN without a foreground pixel.
    """
    true, false = _at_or_above(histogram)
    total = histogram[0].sum()
    if total == 0:
        return float('nan')
    true, false = true[::-1], false[::-1]  # from the highest threshold down
    precision = np.divide(true, true + false, out=np.zeros(len(true)), where=true + false > 0)
    return float((precision * np.diff(true / total, prepend=0)).sum())


def _at_or_above(histogram: np.ndarray) -> np.ndarray:
    return histogram[:, :0:-1].cumsum(axis=1)[:, ::-1]
