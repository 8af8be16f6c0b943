"""Images with image-level labels from a label file."""
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmwsss.datasets.base import CheckedDataset, SkippedFile
from mmwsss.datasets.label_sources import multi_hot, read_labels
from mmwsss.datasets.layout import FOLDER_IMAGES, LABEL_FILES, load_classes
from mmwsss.datasets.mask_checks import class_names, report_disagreement
from mmwsss.datasets.preflight import check_files
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError

MISSING_LABEL = ('error', 'skip', 'none')


@DATASETS.register_module()
class ImageLabelDataset(CheckedDataset):
    """A folder of images and a file of image-level labels.

    ``metainfo['classes']`` are the C foreground classes. Beside the keys of
    :class:`~mmwsss.datasets.base.CheckedDataset`, a sample has ``gt_img_label``: float32 [C] multi-hot, or ``None``
    for an image without label under ``missing_label='none'``.

    Args:
        data_root: Folder of the data set.
        img_dir: Folder of the images, searched with its sub folders. Two images must not have the same name, in
            whatever folders: labels, CAMs and masks go by the name without folder.
        label_file: csv, json or txt file, see :func:`~mmwsss.datasets.label_sources.read_label_file`, below
            ``data_root`` or absolute. ``None``: no labels, which needs ``missing_label='none'``.
        split: Name of a split, or a ``.txt`` list of images, see :func:`~mmwsss.datasets.layout.read_split`.
            ``None``: all images in ``img_dir``.
        classes: Class names; ``None``: from ``classes.txt``, see :func:`~mmwsss.datasets.layout.load_classes`.
        mask_dir: Folder of ``<stem>.png`` masks, for evaluation.
        saliency_dir: Folder of ``<stem>.png`` saliency maps.
        missing_label: What to do about images without a label: ``'error'``, ``'skip'`` (leave out), or ``'none'``
            (keep without label: CAMs are then chosen by scores). An image whose label is empty has one, a vector of
            zeros: it shows none of the classes.
        use_crowd: Of a COCO json, also take labels from annotations that are marked ``iscrowd``.
        **kwargs: See :class:`~mmwsss.datasets.base.CheckedDataset`.

    Raises:
        UserError: See there; also for an image without label (``'error'``) and for a label that is not in the
            class list.
    """

    LAYOUT = 'folder'  # read by DataFolder

    def __init__(self, data_root: str | os.PathLike, img_dir: str = FOLDER_IMAGES,
                 label_file: str | None = LABEL_FILES[0],
                 split: str | None = None, classes: Sequence[str] | None = None, mask_dir: str | None = None,
                 saliency_dir: str | None = None, missing_label: str = 'error', use_crowd: bool = True,
                 **kwargs: Any) -> None:
        if missing_label not in MISSING_LABEL:
            raise UserError(f'missing_label: must be one of {", ".join(MISSING_LABEL)}, not {missing_label!r}')
        self.label_file = label_file and os.path.join(data_root, label_file)
        self.missing_label = missing_label
        self.use_crowd = use_crowd
        names = load_classes(data_root, classes, label_file)
        kwargs.setdefault('recursive', True)
        super().__init__(data_root, classes=names, num_foreground=len(names), split=split, img_dir=img_dir,
                         mask_dir=mask_dir, saliency_dir=saliency_dir, **kwargs)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Returns the 0-based class ids of an image, as MMEngine's ``ClassBalancedDataset`` wants them."""
        label = self.get_data_info(idx)['gt_img_label']
        return [] if label is None else np.flatnonzero(label).tolist()

    def _read_labels(self, samples: list[dict], skipped: list[SkippedFile]) -> tuple[dict[str, list[str] | None], str]:
        """Reads the class names; returns stem -> names or ``None``, and the source for messages.

        Samples whose label source is damaged may be taken out of ``samples`` and put into ``skipped``.
        """
        if self.label_file is None:
            if self.missing_label != 'none':
                raise UserError("label_file: is None; name the label file, or set missing_label='none' "
                                '(--missing-label none) for images without labels')
            return {}, ''
        labels = read_labels(self.label_file, self.use_crowd)
        if self.split is None:  # then the label file is a list of the images as well
            stems = {sample['stem'] for sample in samples}
            skipped += [(os.path.join(self.img_dir, stem), f'missing image, listed in {self.label_file}')
                          for stem in labels if stem not in stems]
        return labels, self.label_file

    def _check(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        kept = super()._check(samples, skipped)
        if self.require_masks:
            # Of all samples, as before: what is known of a list of files is kept together.
            checks = check_files([s['seg_map_path'] for s in samples if s['seg_map_path']], 'mask', self.mask_values)
            names = self._metainfo['classes']
            shown = {s['stem']: class_names(checks[s['seg_map_path']].ids, names) for s in kept}
            report_disagreement(shown, {
                s['stem']: None if s['gt_img_label'] is None else [names[i] for i in np.flatnonzero(s['gt_img_label'])]
                for s in kept}, self.mask_dir)
        return kept

    def _annotate(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        labels, source = self._read_labels(samples, skipped)
        classes = self._metainfo['classes']
        # An empty list is a label: it says that the image shows none of the classes.
        unlabelled = [sample for sample in samples if labels.get(sample['stem']) is None]
        if unlabelled and self.missing_label == 'error':
            names = ', '.join(os.path.basename(sample['img_path']) for sample in unlabelled[:3])
            more = f' and {len(unlabelled) - 3} more' if len(unlabelled) > 3 else ''
            raise UserError(f'{source}: no label for {names}{more}; add the labels, or leave such images out with '
                            "missing_label='skip' (--missing-label skip)")
        for sample in samples:
            names = labels.get(sample['stem'])
            sample['gt_img_label'] = (None if names is None
                                      else multi_hot(names, classes, source, sample['stem']))
        if self.missing_label == 'skip':
            skipped += [(sample['img_path'], f'no label in {source}') for sample in unlabelled]
            samples = [sample for sample in samples if sample['gt_img_label'] is not None]
        return samples
