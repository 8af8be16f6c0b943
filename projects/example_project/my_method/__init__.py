"""A part of every kind, registered when the package is imported."""
from my_method.cam_area import CAMArea
from my_method.feature_weighted_cam import FeatureWeightedCAM, weight_maps
from my_method.head import LSECAMHead, log_sum_exp_pool
from my_method.mirror_max import MirrorMax
from my_method.smooth_scores import SmoothScores, box_mean

__all__ = ['CAMArea', 'FeatureWeightedCAM', 'LSECAMHead', 'MirrorMax', 'SmoothScores', 'box_mean', 'log_sum_exp_pool',
           'weight_maps']
