"""Inference: CAM functions and the hooks that wrap them."""
from mmwsss.inference.attention_refinement import AttentionRefinement, attention_affinity, propagate
from mmwsss.inference.base import CAMProvider, InferenceHook, compose
from mmwsss.inference.external_features import ExternalFeatures
from mmwsss.inference.gradient_cam import GradCAM, GradCAMPlusPlus, LayerCAM, grad_cam, grad_cam_pp, layer_cam
from mmwsss.inference.infer_cam import InferCam
from mmwsss.inference.iterative_erase import IterativeErase
from mmwsss.inference.multi_scale_flip import MultiScaleFlip
from mmwsss.inference.scg import SCG, self_correlation_map
from mmwsss.inference.self_affinity import SelfAffinityHook, semantic_structure
from mmwsss.inference.split_unite import SplitUnite
from mmwsss.inference.ssa import SSA, expand_seed

__all__ = [
    'SCG', 'SSA', 'AttentionRefinement', 'CAMProvider', 'ExternalFeatures', 'GradCAM', 'GradCAMPlusPlus',
    'InferCam', 'InferenceHook', 'IterativeErase', 'LayerCAM', 'MultiScaleFlip', 'SelfAffinityHook', 'SplitUnite',
    'attention_affinity', 'compose', 'expand_seed', 'grad_cam', 'grad_cam_pp', 'layer_cam', 'propagate',
    'self_correlation_map', 'semantic_structure'
]
