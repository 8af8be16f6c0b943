"""Helpers of models that are no modules: what turns a batch into its second view."""
from mmwsss.models.utils.view_transforms import (
    ComposeViews,
    FlipView,
    RescaleView,
    RotateView,
    TranslateView,
    ViewFunction,
    ViewTransform,
    find_inside,
    flip_images,
    rescale,
    rotate,
    translate,
)

__all__ = ['ComposeViews', 'FlipView', 'RescaleView', 'RotateView', 'TranslateView', 'ViewFunction',
           'ViewTransform', 'find_inside', 'flip_images', 'rescale', 'rotate', 'translate']
