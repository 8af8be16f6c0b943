"""Data sets with image-level labels, and their transforms. Importing the package registers mmseg's as well."""
# ruff: noqa: E402
from mmwsss.utils.quiet_imports import import_quietly

import_quietly('mmseg.datasets')  # fills the parent registry, which Registry.get does not

from mmwsss.datasets.base import CheckedDataset, on_rank_zero, sample_seed
from mmwsss.datasets.cub import CUBDataset
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.datasets.ilsvrc import ILSVRCLocalization
from mmwsss.datasets.image_label_dataset import ImageLabelDataset
from mmwsss.datasets.label_sources import classes_of_ids, multi_hot, read_label_file, read_mask_labels, read_xml_labels
from mmwsss.datasets.layout import find_files, find_split, load_classes, read_split, stem_of
from mmwsss.datasets.localization import LocalizationDataset
from mmwsss.datasets.transforms import LoadImage, LoadMask, LoadSaliency, PackWSSSInputs, RandomResizeLong
from mmwsss.datasets.voc import VOCImageLabelDataset, VOCSegDataset

__all__ = [
    'CUBDataset', 'CheckedDataset', 'DataFolder', 'ILSVRCLocalization', 'ImageLabelDataset', 'LoadImage',
    'LoadMask', 'LoadSaliency', 'LocalizationDataset', 'PackWSSSInputs', 'RandomResizeLong', 'VOCImageLabelDataset',
    'VOCSegDataset', 'classes_of_ids', 'find_files', 'find_split', 'load_classes', 'multi_hot', 'on_rank_zero',
    'read_label_file', 'read_mask_labels', 'read_split', 'read_xml_labels', 'sample_seed', 'stem_of'
]
