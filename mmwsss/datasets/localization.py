"""Data sets for weakly supervised object localization: images of one class, with boxes or masks to be evaluated on."""
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmwsss.datasets.base import CheckedDataset, SkippedFile
from mmwsss.datasets.boxes import BOXES_FILE, read_boxes
from mmwsss.datasets.image_label_dataset import ImageLabelDataset
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError


class SingleClassDataset(CheckedDataset):
    """Images of one class each.

    Beside the keys of :class:`~mmwsss.datasets.base.CheckedDataset`, a sample has ``gt_img_label``, float32 [C] with a
    single 1, ``gt_class``, its place, and ``gt_boxes``, float32 [G, 4] (x0, y0, x1, y1) in pixels with x1 and y1
    excluded; G is 0 for images without boxes, which a training does not need.

    A subclass fills in :attr:`classes_of` and :attr:`boxes_of` before it lists the images.

    Args:
        data_root: Folder of the data set.
        require_boxes: Leave out images without a box.
        **kwargs: See :class:`~mmwsss.datasets.base.CheckedDataset`.
    """

    classes_of: Mapping[str, int]
    boxes_of: Mapping[str, Sequence[Sequence[float]]]

    def __init__(self, data_root: str | os.PathLike, *, require_boxes: bool = False, **kwargs: Any) -> None:
        self.require_boxes = require_boxes
        super().__init__(data_root, **kwargs)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Returns the class of an image in a list, as MMEngine's ``ClassBalancedDataset`` wants it."""
        return [self.get_data_info(idx)['gt_class']]

    def _annotate(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        kept = []
        for sample in samples:
            stem = sample['stem']
            if stem not in self.classes_of:
                skipped.append((sample['img_path'], 'no class is known of it'))
                continue
            label = np.zeros(self.num_foreground, np.float32)
            label[self.classes_of[stem]] = 1
            boxes = np.asarray(self.boxes_of.get(stem, ()), np.float32).reshape(-1, 4)
            if len(boxes) == 0 and self.require_boxes:
                skipped.append((sample['img_path'], 'no box is known of it'))
                continue
            kept.append(dict(sample, gt_img_label=label, gt_class=self.classes_of[stem], gt_boxes=boxes))
        return kept


@DATASETS.register_module()
class LocalizationDataset(ImageLabelDataset):
    """The localization set that :mod:`mmwsss.datasets.localization_set` writes.

    ``JPEGImages/<stem>.*``, ``ImageSets/<split>.txt``, ``classes.txt`` and ``labels.json`` as in VOC layout, with one
    class an image; ``boxes.json``, and in ``Masks/<stem>.png`` where there are any (0 background, 1 object, 255
    ignored). Samples are those of :class:`ImageLabelDataset` with ``gt_boxes``, see :class:`SingleClassDataset`.

    Args:
        data_root: Folder of the data set.
        split: Name of the split, or a ``.txt`` list of images; ``None``: all images.
        require_boxes: Leave out images without a box.
        classes: Class names; ``None``: from ``classes.txt``.
        img_dir: Folder of the images.
        mask_dir: Folder of the masks; a folder that is not there: no masks.
        label_file: File of the classes.
        **kwargs: See :class:`ImageLabelDataset`.

    Raises:
        UserError: If an image has several classes; and see :class:`ImageLabelDataset`.
    """

    LAYOUT = None  # its folder is in VOC layout, and read by this type alone: DataFolder leaves the type as it is

    def __init__(self, data_root: str | os.PathLike, split: str | None = None, require_boxes: bool = False,
                 classes: Sequence[str] | None = None, img_dir: str = 'JPEGImages', mask_dir: str | None = 'Masks',
                 label_file: str = 'labels.json', **kwargs: Any) -> None:
        self.require_boxes = require_boxes
        kwargs.setdefault('recursive', False)
        super().__init__(data_root, img_dir=img_dir, label_file=label_file, split=split, classes=classes,
                         mask_dir=mask_dir, **kwargs)

    def _annotate(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        path = os.path.join(self.data_root, BOXES_FILE)
        boxes = read_boxes(path) if self.require_boxes or os.path.exists(path) else {}
        kept = []
        for sample in super()._annotate(samples, skipped):
            label = sample['gt_img_label']
            if label is not None and label.sum() != 1:
                raise UserError(f'{self.label_file}: image {sample["stem"]!r} has {int(label.sum())} classes; images '
                                'of a localization set have one')
            found = np.asarray(boxes.get(sample['stem'], ()), np.float32).reshape(-1, 4)
            if len(found) == 0 and self.require_boxes:
                skipped.append((sample['img_path'], f'no box in {path}'))
                continue
            kept.append(dict(sample, gt_boxes=found))
        return kept

