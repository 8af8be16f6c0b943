"""mIoU of class activation maps over all background thresholds."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.evaluator import BaseMetric
from rich.table import Table

from mmwsss.evaluation.evaluation_report import cam_report, log_table, miou_at, report_table, write_report
from mmwsss.evaluation.label_metrics import load_mask
from mmwsss.evaluation.threshold_curve import DEFAULT_THRESHOLDS, CAMHistogram, cam_histogram, check_thresholds
from mmwsss.registry import METRICS
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError

FILTERS = ('label', 'score', 'top_k')
CLASS_COUNTS = ('1', '2', '3+')  # images by the number of classes whose maps they have


@METRICS.register_module()
class CAMMetric(BaseMetric):
    """Threshold curve of class activation maps: mIoU, and m_FN and m_FP of SEAM (eq. 13, 14).

    ``pred_cam`` is resized to the image in float32; a pixel is its argmax class where the value exceeds the
    threshold, else background. Every image adds to an integer histogram, which is summed over the ranks: the
    result does not depend on their number, and nothing is gathered, padded or cut.

    Args:
        thresholds: Increasing thresholds; default 0, 0.01, ..., 1.
        out_file: Json file for the report in fractions, see
            :func:`mmwsss.evaluation.evaluation_report.cam_report`; written by the main process. The report also
            says ``class_filter``: whether the classes of the maps came from the image-level ``'label'``, from the
            ``'score'``, from their rank (``'top_k'``), or ``'mixed'`` (null where samples do not say); and
            ``by_num_classes`` {'1', '2', '3+': mIoU of the images with so many maps at the same threshold, null
            without such images}.
        prefix: Put before the names of the metrics, with a slash.

    Attributes:
        table: The last report for people, on the main process.

    Raises:
        ValueError: If the thresholds do not increase.

    Examples:
        >>> test_evaluator = dict(type='CAMMetric', out_file='work_dirs/cam/eval.json')
    """

    default_prefix = ''

    def __init__(self, thresholds: Sequence[float] = DEFAULT_THRESHOLDS, out_file: str | None = None,
                 prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        check_thresholds(thresholds)
        self.thresholds = tuple(thresholds)
        self.out_file = out_file
        self.table: Table | None = None
        self._reset()

    def _reset(self) -> None:
        self.histograms: list[CAMHistogram] | None = None  # one for each of CLASS_COUNTS, and images without class
        self.num_images = 0
        self.class_filters = dict.fromkeys(FILTERS, 0)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of a batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions as dicts, with ``pred_cam``, ``pred_img_label``, ``ori_shape`` and
                ``seg_map_path``.

        Raises:
            UserError: If a sample has no mask, or one that does not fit its image or the class list.
        """
        num_classes = len(self.dataset_meta['classes'])
        if self.histograms is None:
            self.histograms = self._zeros()
        for sample in data_samples:
            size = tuple(sample['ori_shape'][:2])
            mask = self._load_mask(sample, size, num_classes)
            cam = resize_cam(sample['pred_cam']['data'].detach().cpu(), size)
            classes = sample['pred_img_label']['label'].cpu()
            try:
                counts = cam_histogram(cam, classes, mask, self.thresholds, num_classes)
            except ValueError as error:
                raise UserError(f'{sample.get("img_path")}: its CAM cannot be evaluated: {error}; check the '
                                'checkpoint') from error
            self.histograms[min(len(classes), len(CLASS_COUNTS))] += counts
            self.num_images += 1
            if sample.get('class_filter') in self.class_filters:
                self.class_filters[sample['class_filter']] += 1

    def _zeros(self) -> list[CAMHistogram]:
        return [CAMHistogram.zeros(len(self.dataset_meta['classes']), len(self.thresholds))
                for _ in range(len(CLASS_COUNTS) + 1)]

    @staticmethod
    def _load_mask(sample: dict, size: tuple[int, int], num_classes: int) -> np.ndarray:
        path = sample.get('seg_map_path')
        if path is None or not Path(path).is_file():
            raise UserError(f'{path or sample.get("img_path")}: no ground truth mask to evaluate the CAM on; without '
                            'masks, drop CAMMetric from the evaluators')
        return load_mask(path, size, num_classes, sample.get('mask_values'))

    def evaluate(self, size: int) -> dict[str, float]:
        """Sums the counts over the ranks and computes the metrics.

        Args:
            size: Number of images of the data set.

        Returns:
            On every rank: ``mIoU``, ``precision`` and ``recall`` in percent; ``threshold``, the best one, with
            ``oracle_threshold`` as it was chosen on ground truth; ``m_FN`` and ``m_FP`` (ratios). NaN where
            nothing can be computed.

        Raises:
            UserError: If images were counted twice, by a sampler that repeats some to give every rank as many.
        """
        if self.histograms is None:  # no batch came to this rank
            self.histograms = self._zeros()
        histograms, num_images, class_filter = self._sum_over_ranks()
        self._reset()
        if num_images > size:
            raise UserError(f'CAMMetric: {num_images} images were counted, but the data set has {size}; use '
                            'batch_sampler=dict(type="SameSizeBatchSampler") or a sampler with round_up=False')
        total = self._zeros()[0]
        for histogram in histograms:
            total += histogram
        report = cam_report(total, self.thresholds, self.dataset_meta['classes'], num_images, class_filter=class_filter)
        report['by_num_classes'] = {
            name: miou_at(histogram, self.thresholds, report['threshold'])
            for name, histogram in zip(CLASS_COUNTS, histograms[1:])}
        if is_main_process():
            self._show(report)
        metrics = self.compute_metrics([report])
        return {f'{self.prefix}/{key}': value for key, value in metrics.items()} if self.prefix else metrics

    def _sum_over_ranks(self) -> tuple[list[CAMHistogram], int, str | None]:
        counts = [*(np.stack([getattr(histogram, name) for histogram in self.histograms])
                    for name in ('pred', 'gt', 'own')),
                  np.array([self.num_images, *(self.class_filters[class_filter] for class_filter in FILTERS)])]
        totals = torch.from_numpy(np.concatenate([part.ravel() for part in counts]).astype(np.int64))
        all_reduce(totals, op='sum')
        *histograms, numbers = (part.reshape(before.shape) for part, before in zip(
            np.split(totals.numpy(), np.cumsum([before.size for before in counts[:-1]])), counts))
        used = [class_filter for class_filter, count in zip(FILTERS, numbers[1:]) if count]
        class_filter = 'mixed' if len(used) > 1 else next(iter(used), None)
        return [CAMHistogram(*parts) for parts in zip(*histograms)], int(numbers[0]), class_filter

    def _show(self, report: dict) -> None:
        self.table = report_table(report, 'CAM')
        log_table(self.table)
        write_report(report, self.out_file)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Picks the values to log from a report.

        Args:
            results: The report of :func:`mmwsss.evaluation.evaluation_report.cam_report`, in a list.

        Returns:
            See :meth:`evaluate`, without the prefix.
        """
        report, = results
        numbers = {name: float('nan') if report[name] is None else report[name]
                   for name in ('mIoU', 'threshold', 'm_FN', 'm_FP', 'precision', 'recall')}
        for name in ('mIoU', 'precision', 'recall'):
            numbers[name] *= 100
        return dict(numbers, oracle_threshold=True)
