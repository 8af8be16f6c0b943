"""Transforms: loading, resizing and packing. mmcv's and mmseg's can be named beside them."""
from mmwsss.datasets.transforms.color import ColorJitter, PCALighting, turn_hue
from mmwsss.datasets.transforms.formatting import PackWSSSInputs
from mmwsss.datasets.transforms.load_cam import LoadCAM
from mmwsss.datasets.transforms.loading import LoadImage, LoadMask, LoadSaliency, read_saliency
from mmwsss.datasets.transforms.random_place_crop import RandomPlaceCrop
from mmwsss.datasets.transforms.resize import RandomResizeLong, ScaleImage, scaled_size, size_for_long_side
from mmwsss.datasets.transforms.split_patch import SplitPatch

__all__ = ['ColorJitter', 'LoadCAM', 'LoadImage', 'LoadMask', 'LoadSaliency', 'PCALighting', 'PackWSSSInputs',
           'RandomPlaceCrop', 'RandomResizeLong', 'ScaleImage', 'SplitPatch', 'read_saliency', 'scaled_size',
           'size_for_long_side', 'turn_hue']
