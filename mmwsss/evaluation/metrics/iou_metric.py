"""mmseg's IoUMetric, with the report and the table that every evaluation here ends in."""
import logging
from collections.abc import Sequence
from typing import Any

import mmseg.evaluation
import numpy as np
from mmengine.logging import print_log
from rich.table import Table

from mmwsss.evaluation.evaluation_report import counts_report, log_table, report_table, write_report
from mmwsss.registry import METRICS


@METRICS.register_module()
class IoUMetric(mmseg.evaluation.IoUMetric):
    """mmseg's IoUMetric; it takes its arguments and returns the same metrics.

    Args:
        out_file: Json file for the report in fractions, with the IoU of every class, see
            :func:`mmwsss.evaluation.label_report`; written by the main process.
        kwargs: Those of mmseg's IoUMetric.

    Attributes:
        table: IoU, m_FN and m_FP of every class, on the main process; ``None`` until something was evaluated.
    """
    default_prefix = ''
    table: Table | None = None

    def __init__(self, *args: Any, out_file: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.out_file = out_file

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes mmseg's metrics, logs the table and writes ``out_file``.

        Args:
            results: (intersection, union, prediction, ground truth) of every image: pixels of the C + 1 classes.

        Returns:
            mmseg's metrics, in percent.
        """
        metrics = super().compute_metrics(results)
        if results and not self.format_only:
            tp, _, predicted, gt = (sum(areas).cpu().numpy() for areas in zip(*results))
            if warning := _warning(predicted, gt, self.dataset_meta['classes']):
                print_log(warning, 'current', level=logging.WARNING)
            report = counts_report(tp, predicted, gt, self.dataset_meta['classes'][1:], len(results))
            self.table = report_table(report, 'labels')
            log_table(self.table)
            write_report(report, self.out_file)
        return metrics


def _warning(predicted: np.ndarray, gt: np.ndarray, classes: Sequence[str]) -> str | None:
    """Returns what is wrong with numbers of pixels of the classes, predicted and true; ``None``: nothing."""
    if not gt.any():
        return 'every pixel of the masks is 255 (ignore), so nothing was evaluated'
    found = predicted.nonzero()[0]
    if len(found) == 1 and np.count_nonzero(gt) > 1:
        return (f'every pixel of every image is predicted as {classes[found[0]]!r}: the training has learned nothing; '
                'train again at a lower rate (optim_wrapper.optimizer.lr)')
    return None
