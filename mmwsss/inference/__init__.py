"""Inference: CAM functions, the hooks that wrap them, and the arithmetic on maps."""
from mmwsss.inference.base import CAMProvider, InferenceHook, compose
from mmwsss.inference.functional import grid_size, max_normalize, rescale_images, resize_maps
from mmwsss.inference.multi_scale_flip import MultiScaleFlip

__all__ = ['CAMProvider', 'InferenceHook', 'MultiScaleFlip', 'compose', 'grid_size', 'max_normalize', 'rescale_images',
           'resize_maps']
