"""From CAMs to labels: backgrounds, and post-processors (POSTPROCESSORS) of score maps."""
from mmwsss.postprocessing.background import (
    merge_confident,
    score_map_constant,
    score_map_power,
    score_map_saliency,
    score_map_saliency_mean,
    to_score_map,
)
from mmwsss.postprocessing.base import Postprocessor, build_postprocessor, build_postprocessors
from mmwsss.postprocessing.defaults import DEFAULT_BACKGROUND, DEFAULT_CRF_BACKGROUND
from mmwsss.postprocessing.dense_crf import CRF_PRESETS, DenseCRF, ImageCRF, dense_crf
from mmwsss.postprocessing.label_map import pseudo_label, write_pseudo_label

__all__ = [
    'CRF_PRESETS', 'DEFAULT_BACKGROUND', 'DEFAULT_CRF_BACKGROUND', 'DenseCRF', 'ImageCRF', 'Postprocessor',
    'build_postprocessor', 'build_postprocessors', 'dense_crf', 'merge_confident', 'pseudo_label',
    'score_map_constant', 'score_map_power', 'score_map_saliency', 'score_map_saliency_mean', 'to_score_map',
    'write_pseudo_label'
]
