"""mmseg's IoUMetric, with the table that every evaluation here ends in."""
import mmseg.evaluation
from rich.table import Table

from mmwsss.evaluation.evaluation_report import counts_report, log_table, report_table
from mmwsss.registry import METRICS


@METRICS.register_module()
class IoUMetric(mmseg.evaluation.IoUMetric):
    """mmseg's IoUMetric; it takes the same arguments and returns the same metrics.

    Attributes:
        table: IoU, m_FN and m_FP of every class, on the main process; ``None`` until something was evaluated.
    """
    default_prefix = ''
    table: Table | None = None

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes mmseg's metrics, and logs the table.

        Args:
            results: (intersection, union, prediction, ground truth) of every image: pixels of the C + 1 classes.

        Returns:
            mmseg's metrics, in percent.
        """
        metrics = super().compute_metrics(results)
        if results and not self.format_only:
            tp, _, predicted, gt = (sum(areas).cpu().numpy() for areas in zip(*results))
            report = counts_report(tp, predicted, gt, self.dataset_meta['classes'][1:], len(results))
            self.table = report_table(report, 'labels')
            log_table(self.table)
        return metrics
