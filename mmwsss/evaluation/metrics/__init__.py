"""Evaluators: metrics, and writers of the files between stages."""
from mmwsss.evaluation.metrics.box_localization_metric import BoxLocalizationMetric
from mmwsss.evaluation.metrics.cam_metric import CAMMetric
from mmwsss.evaluation.metrics.cam_writer import CAMWriter
from mmwsss.evaluation.metrics.iou_metric import IoUMetric
from mmwsss.evaluation.metrics.pseudo_label_writer import PseudoLabelWriter
from mmwsss.evaluation.metrics.refined_iou_metric import RefinedIoUMetric, refine_label

__all__ = ['BoxLocalizationMetric', 'CAMMetric', 'CAMWriter', 'IoUMetric', 'PseudoLabelWriter', 'RefinedIoUMetric',
           'refine_label']
