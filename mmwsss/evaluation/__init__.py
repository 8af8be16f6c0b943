"""Evaluating CAMs and label maps."""
# ruff: noqa: E402
from mmwsss.utils.quiet_imports import import_quietly

import_quietly('mmseg.evaluation')  # fills the parent registry, which Registry.get does not

from mmwsss.evaluation.evaluation_report import cam_report, label_report, report_table
from mmwsss.evaluation.label_metrics import confusion_matrix, scores_from_confusion, scores_from_counts
from mmwsss.evaluation.metrics import (
    BoxLocalizationMetric,
    CAMMetric,
    CAMWriter,
    IoUMetric,
    PseudoLabelWriter,
    RefinedIoUMetric,
    refine_label,
)
from mmwsss.evaluation.threshold_curve import (
    DEFAULT_THRESHOLDS,
    CAMHistogram,
    cam_histogram,
    curve_from_histogram,
    label_from_cam,
)

__all__ = ['DEFAULT_THRESHOLDS', 'BoxLocalizationMetric', 'CAMHistogram', 'CAMMetric', 'CAMWriter', 'IoUMetric',
           'PseudoLabelWriter', 'RefinedIoUMetric', 'cam_histogram', 'cam_report', 'confusion_matrix',
           'curve_from_histogram', 'label_from_cam', 'label_report', 'refine_label', 'report_table',
           'scores_from_confusion', 'scores_from_counts']
