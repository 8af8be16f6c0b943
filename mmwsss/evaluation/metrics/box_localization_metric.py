"""How well class activation maps localize single objects."""
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.evaluator import BaseMetric
from rich.table import Table

from mmwsss.evaluation.box_localization import (
    BENCHMARK_SIZE,
    BOX_KINDS,
    DEFAULT_IOUS,
    ERRORS,
    TOP_K,
    LocalizationCounts,
    benchmark_hits,
    image_hits,
    iou_curve,
    mask_histogram,
    min_max,
    resize_boxes,
)
from mmwsss.evaluation.component_tree import SIZES
from mmwsss.evaluation.evaluation_report import log_table, write_report
from mmwsss.evaluation.localization_report import chosen_thresholds, localization_report, localization_table
from mmwsss.evaluation.metrics.cam_metric import FILTERS
from mmwsss.evaluation.threshold_curve import check_thresholds
from mmwsss.registry import METRICS
from mmwsss.structures import read_label, resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json

LOCALIZATION_THRESHOLDS = tuple(i / 1000 for i in range(1000))


@METRICS.register_module()
class BoxLocalizationMetric(BaseMetric):
    """Errors of weakly supervised object localization, at all thresholds in one pass.

    The map of the image's class is brought to [0, 1] by its minimum and maximum, and cut at every threshold. Computed
    are (see :mod:`mmwsss.evaluation.box_localization` for the conventions):

    - top-1, top-5 and GT-known error: the share of images whose box (of the largest component, ``max``, or around all
      foreground, ``union``) has an IoU of 0.5 or less with every ground-truth box, or whose class is not among the
      best 1 or 5 scores; GT-known leaves out the scores. All three look at the map of the true class: no other can be
      right.
    - MaxBoxAcc, and MaxBoxAccV2 at several IoUs, of any component, on maps of 224 pixels;
    - PxAP and the curve of the IoU over the thresholds, where images have masks.

    Every image adds to integer counts, which are summed over the ranks. The number of classes does not matter.

    Args:
        thresholds: Increasing; default 0, 0.001, ..., 0.999.
        threshold: The threshold of the errors. ``None``: the best one on the very images, which the report calls
            ``'oracle'``. A number. Or the json file (``out_file``) of another evaluation, on a validation split with
            full labels: its best thresholds are used, as the held-out protocol of "Evaluating Weakly Supervised
            Object Localization Methods Right" wants it.
        size: What makes a component the largest one in ``max``: ``'pixels'``, ``'contour'`` or ``'box'``, see
            :meth:`mmwsss.evaluation.component_tree.ComponentTree.largest`. MaxBoxAcc has the contour always.
        ious: IoUs of MaxBoxAccV2.
        out_file: Json file for the report, see
            :func:`mmwsss.evaluation.localization_report.localization_report`; written by the main process.
        prefix: Put before the names of the metrics, with a slash.

    Raises:
        ValueError: For thresholds that do not increase, an unknown size or IoUs not in (0, 1].

    Examples:
        >>> val_evaluator = dict(type='BoxLocalizationMetric', out_file='work_dirs/wsol/val.json')
        >>> test_evaluator = dict(type='BoxLocalizationMetric', threshold='work_dirs/wsol/val.json')
    """

    default_prefix = ''

    def __init__(self, thresholds: Sequence[float] = LOCALIZATION_THRESHOLDS,
                 threshold: float | str | None = None, size: str = 'pixels', ious: Sequence[float] = DEFAULT_IOUS,
                 out_file: str | None = None, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        check_thresholds(thresholds)
        if size not in SIZES:
            raise ValueError(f'BoxLocalizationMetric: size is one of {SIZES}, got {size!r}')
        if not ious or not all(0 < iou <= 1 for iou in ious):
            raise ValueError(f'BoxLocalizationMetric: ious must be numbers above 0 and up to 1, got {ious}')
        self.thresholds = np.array(thresholds, np.float64)
        self.threshold = threshold
        self.size = size
        self.ious = tuple(ious)
        self.out_file = out_file
        self.table: Table | None = None
        self._reset()

    def _reset(self) -> None:
        self.counts = LocalizationCounts.zeros(len(self.thresholds), len(self.ious))
        self.class_filters: set[str] = set()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts the images of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions as dicts, with ``pred_cam``, ``pred_img_label`` (and its ``score``),
                ``gt_img_label``, ``ori_shape``, and ``gt_boxes`` or ``seg_map_path``.

        Raises:
            UserError: If an image has not one class, or neither boxes nor a mask, or a mask of another size.
        """
        for sample in data_samples:
            self._count(sample)

    def _count(self, sample: dict) -> None:
        name = sample.get('img_path')
        if sample.get('gt_img_label') is None:
            raise UserError(f'{name}: has no image-level label, so its localization cannot be evaluated')
        label = np.flatnonzero(sample['gt_img_label']['label'].cpu().numpy())
        if len(label) != 1:
            raise UserError(f'{name}: has {len(label)} classes, but localization is evaluated on images of one; '
                            'convert the data set with `mmwsss convert localization`')
        boxes, mask_path = sample.get('gt_boxes'), sample.get('seg_map_path')
        boxes = None if boxes is None or len(boxes) == 0 else np.asarray(boxes, np.float64)
        if boxes is None and mask_path is None:
            raise UserError(f'{name}: has neither a box nor a mask to be evaluated on')
        size = tuple(sample['ori_shape'][:2])
        classes = sample['pred_img_label']['label'].cpu().numpy()
        in_top = rank_of(sample['pred_img_label']['score'].cpu().numpy(), int(label[0])) < np.array(TOP_K)
        self.counts.images += (1, boxes is not None, mask_path is not None)
        self.counts.classified += in_top
        self.class_filters.add(str(sample.get('class_filter')))
        place = np.flatnonzero(classes == label[0])
        if len(place):
            cam = sample['pred_cam']['data'][int(place[0]):int(place[0]) + 1].detach().cpu().numpy()
        else:  # the class filter took the map of the true class away: nothing is localized
            cam = np.zeros((1, 1, 1), np.float32)
        if not np.isfinite(cam).all():
            raise UserError(f'{name}: its CAM is not finite; check the checkpoint')
        square = min_max(resize_cam(cam, (BENCHMARK_SIZE, BENCHMARK_SIZE))[0])
        if boxes is not None:
            hits = image_hits(min_max(resize_cam(cam, size)[0]), boxes, self.thresholds, self.size)
            self.counts.hits += hits[:, None] & np.array([True, *in_top])[:, None]
            largest, any_one = benchmark_hits(square, resize_boxes(boxes, size), self.thresholds, self.ious)
            self.counts.largest += largest
            self.counts.any += any_one
        if mask_path is not None:
            histogram = mask_histogram(square, self._load_mask(mask_path, size), self.thresholds)
            self.counts.foreground += histogram[0]
            self.counts.background += histogram[1]
            self.counts.image_iou += iou_curve(histogram)

    @staticmethod
    def _load_mask(path: str, size: tuple[int, int]) -> np.ndarray:
        mask = read_label(path)
        if mask.shape != size:
            raise UserError(f'{path}: is {mask.shape[0]} x {mask.shape[1]} (height x width), but the image is '
                            f'{size[0]} x {size[1]}')
        return cv2.resize(mask, (BENCHMARK_SIZE, BENCHMARK_SIZE), interpolation=cv2.INTER_NEAREST)

    def evaluate(self, size: int) -> dict[str, float]:
        """Sums the counts over the ranks and computes the metrics.

        Args:
            size: Number of images of the data set.

        Returns:
            On every rank, in percent: ``top1_error_max``, ``top5_error_max``, ``gt_known_error_max``, the same of
            ``_union``, ``MaxBoxAcc``, ``MaxBoxAccV2``, ``PxAP``, ``peak_IoU``, ``top1_cls_error``, ``top5_cls_error``;
            and ``threshold_max``, ``threshold_union``. What cannot be computed is left out.

        Raises:
            UserError: If images were counted twice, by a sampler that repeats some, or the file of thresholds is
                missing or holds none.
        """
        report = self.report(size)
        if is_main_process():
            self.table = localization_table(report)
            log_table(self.table)
            write_report(report, self.out_file)
        metrics = self.compute_metrics([report])
        return {f'{self.prefix}/{key}': value for key, value in metrics.items()} if self.prefix else metrics

    def report(self, size: int) -> dict[str, Any]:
        """Sums the counts over the ranks, forgets them, and returns the report; see :meth:`evaluate`."""
        counts, class_filter = self._sum_over_ranks()
        self._reset()
        if counts.images[0] > size:
            raise UserError(f'BoxLocalizationMetric: {counts.images[0]} images were counted, but the data set has '
                            f'{size}; use batch_sampler=dict(type="SameSizeBatchSampler") or a sampler with '
                            'round_up=False')
        report = localization_report(counts, self.thresholds, self.ious, self._chosen(), class_filter)
        report['size'] = self.size
        return report

    def _chosen(self) -> dict[str, Any] | None:
        if self.threshold is None:
            return None
        if isinstance(self.threshold, (int, float)):
            value = float(self.threshold)
            return dict(source=f'given ({value:g})', benchmark=value, **dict.fromkeys(BOX_KINDS, value))
        try:
            report = read_json(self.threshold)
            if report is None:
                raise UserError(f'{self.threshold}: no such file of thresholds; evaluate the validation split with '
                                'out_file first')
            return chosen_thresholds(report, f'chosen on held-out images with full labels ({self.threshold})')
        except ValueError as error:
            raise UserError(f'{self.threshold}: {error}; name the out_file of an evaluation of boxes') from error

    def _sum_over_ranks(self) -> tuple[LocalizationCounts, str | None]:
        counts = self.counts
        seen = np.array([name in self.class_filters for name in FILTERS], np.int64)
        for kind, more in ((np.int64, [seen]), (np.float64, [])):
            parts = counts.arrays(kind) + more
            totals = torch.from_numpy(np.concatenate([part.ravel() for part in parts]))
            all_reduce(totals, op='sum')
            for part, total in zip(parts, np.split(totals.numpy(), np.cumsum([part.size for part in parts])[:-1])):
                part[...] = total.reshape(part.shape)
        used = [name for name, count in zip(FILTERS, seen) if count]
        return counts, 'mixed' if len(used) > 1 else next(iter(used), None)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Picks the values to log from a report.

        Args:
            results: The report of :func:`mmwsss.evaluation.localization_report.localization_report`, in a list.

        Returns:
            See :meth:`evaluate`, without the prefix.
        """
        report, = results
        metrics: dict[str, float | None] = {}
        for kind, errors in (report['errors'] or {}).items():
            metrics.update({f'{error}_error_{kind}': errors[error] for error in ERRORS})
        metrics.update({f'{name}_cls_error': value for name, value in report['classification_error'].items()})
        metrics.update({name: report[name] for name in ('MaxBoxAcc', 'MaxBoxAccV2', 'PxAP', 'peak_IoU')})
        numbers = {name: 100 * value for name, value in metrics.items() if value is not None}
        numbers.update({f'threshold_{kind}': errors['threshold'] for kind, errors in (report['errors'] or {}).items()})
        return numbers


def rank_of(scores: np.ndarray, label: int) -> int:
    """Returns how many classes have a higher score than one; of equal scores the lower id counts as higher."""
    return int((scores > scores[label]).sum() + (scores[:label] == scores[label]).sum())
