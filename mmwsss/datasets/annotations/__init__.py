"""Annotations of labelling programs, and folders of classes, as a data set in VOC layout."""
from mmwsss.datasets.annotations.readers import READERS, Annotation
from mmwsss.datasets.annotations.shapes import Shape
from mmwsss.datasets.annotations.to_voc import annotations_to_voc

__all__ = ['READERS', 'Annotation', 'Shape', 'annotations_to_voc']
