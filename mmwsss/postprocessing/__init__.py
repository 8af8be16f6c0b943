"""From CAMs to labels: backgrounds, and post-processors (POSTPROCESSORS) of score maps."""
from mmwsss.postprocessing.background import merge_confident, score_map_constant, score_map_power, to_score_map
from mmwsss.postprocessing.base import Postprocessor, build_postprocessor, build_postprocessors
from mmwsss.postprocessing.defaults import DEFAULT_BACKGROUND, DEFAULT_CRF_BACKGROUND
from mmwsss.postprocessing.dense_crf import CRF_PRESETS, DenseCRF, dense_crf
from mmwsss.postprocessing.label_map import pseudo_label
from mmwsss.postprocessing.pixel_pairs import (
    clipped_radius,
    edge_affinity,
    feature_affinity,
    half_disc_offsets,
    lattice_path,
    pair_mask,
    pair_windows,
)
from mmwsss.postprocessing.random_walk import RandomWalk, chebyshev_coefficients, random_walk

__all__ = [
    'CRF_PRESETS', 'DEFAULT_BACKGROUND', 'DEFAULT_CRF_BACKGROUND', 'DenseCRF', 'Postprocessor', 'RandomWalk',
    'build_postprocessor', 'build_postprocessors', 'chebyshev_coefficients', 'clipped_radius', 'dense_crf',
    'edge_affinity', 'feature_affinity', 'half_disc_offsets', 'lattice_path', 'merge_confident', 'pair_mask',
    'pair_windows', 'pseudo_label', 'random_walk', 'score_map_constant', 'score_map_power', 'to_score_map'
]
