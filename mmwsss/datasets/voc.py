"""Data sets in the layout of PASCAL VOC."""
import os
from collections.abc import Sequence
from typing import Any

from mmwsss.datasets.base import CheckedDataset, SkippedFile
from mmwsss.datasets.image_label_dataset import ImageLabelDataset
from mmwsss.datasets.label_sources import classes_of_ids, read_labels, read_xml_labels
from mmwsss.datasets.layout import JSON_LABELS, SALIENCY, VOC_IMAGES, VOC_MASKS, VOC_XML, find_files, load_classes
from mmwsss.datasets.mask_checks import check_mask_classes, check_masks_there, check_not_binary
from mmwsss.datasets.preflight import check_files
from mmwsss.registry import DATASETS
from mmwsss.structures.label_file import IGNORE
from mmwsss.utils.errors import UserError


@DATASETS.register_module()
class VOCImageLabelDataset(ImageLabelDataset):
    """Image-level labels in VOC layout.

    ``JPEGImages/<stem>.*``, ``ImageSets/<split>.txt`` or ``ImageSets/Segmentation/<split>.txt``,
    ``SegmentationClass/<stem>.png`` and ``Saliency/<stem>.png`` where there are any; labels from
    ``labels.json``, ``Annotations/<stem>.xml`` or the masks. Samples are those of :class:`ImageLabelDataset`.

    Args:
        data_root: Folder of the data set.
        split: Name of the split, or a ``.txt`` list of images; ``None``: all images in ``img_dir``.
        label_source: ``'json'``, ``'xml'``, ``'mask'``, the path of a csv, json or txt label file (below
            ``data_root`` or absolute), or ``'auto'``: the first of json, xml and mask that is there.
        classes: See :class:`ImageLabelDataset`.
        img_dir: Folder of the images.
        ann_dir: Folder of the XML annotations.
        mask_dir: Folder of the masks.
        saliency_dir: Folder of the saliency maps.
        use_difficult: Also take labels from XML objects that are marked difficult.
        missing_label: See :class:`ImageLabelDataset`.
        **kwargs: See :class:`ImageLabelDataset` (``use_crowd``) and :class:`~mmwsss.datasets.base.CheckedDataset`.

    Raises:
        UserError: See :class:`ImageLabelDataset`; also if there is no label source at all.
    """

    LAYOUT = 'voc'

    def __init__(self, data_root: str | os.PathLike, split: str | None, label_source: str = 'auto',
                 classes: Sequence[str] | None = None, img_dir: str = VOC_IMAGES, ann_dir: str = VOC_XML,
                 mask_dir: str = VOC_MASKS, saliency_dir: str | None = SALIENCY,
                 use_difficult: bool = True, missing_label: str = 'error', **kwargs: Any) -> None:
        self.label_source = label_source
        self.ann_dir = os.path.join(data_root, ann_dir)
        self.use_difficult = use_difficult
        kwargs.setdefault('recursive', False)
        super().__init__(data_root, img_dir=img_dir, label_file=JSON_LABELS, split=split, classes=classes,
                         mask_dir=mask_dir, saliency_dir=saliency_dir, missing_label=missing_label, **kwargs)

    def _find_source(self) -> str | None:
        """Returns ``'json'``, ``'xml'``, ``'mask'``, a path, or ``None`` when there is none and none is needed."""
        if self.label_source != 'auto':
            return self.label_source
        if os.path.isfile(self.label_file):
            return 'json'
        if os.path.isdir(self.ann_dir) and find_files(self.ann_dir, ('.xml',)):
            return 'xml'
        if os.path.isdir(self.mask_dir) and find_files(self.mask_dir, ('.png',)):
            return 'mask'
        if self.missing_label == 'none':
            return None
        raise UserError(f'{self.data_root}: there are no image-level labels; add one of {self.label_file}, '
                        f'{self.ann_dir}/<image>.xml and {self.mask_dir}/<image>.png')

    def _read_labels(self, samples: list[dict], skipped: list[SkippedFile]) -> tuple[dict[str, list[str] | None], str]:
        source = self._find_source()
        if source is None:
            return {}, ''
        if source == 'xml':
            files = find_files(self.ann_dir, ('.xml',))
            return {sample['stem']: read_xml_labels(files[sample['stem']], self.use_difficult)
                    for sample in samples if sample['stem'] in files}, self.ann_dir
        if source == 'mask':
            return self._labels_from_masks(samples, skipped), self.mask_dir
        path = self.label_file if source == 'json' else os.path.join(self.data_root, source)
        return read_labels(path, self.use_crowd), path

    def _labels_from_masks(self, samples: list[dict], skipped: list[SkippedFile]) -> dict[str, list[str]]:
        if not os.path.isdir(self.mask_dir):
            raise UserError(f'{self.mask_dir}: no such folder; add the masks or choose another label_source')
        paths = [s['seg_map_path'] for s in samples if s['seg_map_path']]
        checks = check_files(paths, 'mask', self.mask_values)
        check_not_binary({path: check.ids for path, check in checks.items() if not check.reason})
        labels, damaged = {}, set()
        for sample in samples:
            path, stem = sample['seg_map_path'], sample['stem']
            if path is None:
                continue
            if checks[path].reason:
                skipped.append((sample['img_path'], f'no label, since the mask {path}: {checks[path].reason}'))
                damaged.add(stem)
                continue
            ids = classes_of_ids(checks[path].ids, self.num_foreground, path)
            is_known = ids or IGNORE not in checks[path].ids  # pixels to be ignored may show something
            labels[stem] = [self._metainfo['classes'][i] for i in ids] if is_known else None
        samples[:] = [sample for sample in samples if sample['stem'] not in damaged]
        return labels


@DATASETS.register_module()
class VOCSegDataset(CheckedDataset):
    """Images with masks or pseudo labels in VOC layout, for the segmentation stage.

    ``metainfo['classes']`` is ``('background', *names)``. Samples are those of
    :class:`~mmwsss.datasets.base.CheckedDataset`, each with a usable ``seg_map_path``.

    Args:
        data_root: Folder of the data set.
        split: Name of the split, or a ``.txt`` list of images; ``None``: all images in ``img_dir``.
        seg_dir: Folder of the ``<stem>.png`` masks or pseudo labels, below ``data_root`` or absolute.
        classes: Names of the C foreground classes; ``None``: from ``classes.txt``.
        img_dir: Folder of the images, below ``data_root`` or absolute; with ``recursive=True`` (see below), its sub
            folders too.
        saliency_dir: Folder of the saliency maps.
        missing_mask: What to do about images without a mask file: ``'error'``, ``'skip'`` (leave out), or ``'none'``
            (no mask is needed or looked at: for predictions only). Under the first two a mask that is damaged or of
            another size leaves its image out.
        **kwargs: See :class:`~mmwsss.datasets.base.CheckedDataset`.

    Raises:
        UserError: See there; also for an image without mask (``'error'``).
    """

    WITH_BACKGROUND = True

    def __init__(self, data_root: str | os.PathLike, split: str | None, seg_dir: str = VOC_MASKS,
                 classes: Sequence[str] | None = None, img_dir: str = VOC_IMAGES,
                 saliency_dir: str | None = SALIENCY, missing_mask: str = 'error', **kwargs: Any) -> None:
        if missing_mask not in ('error', 'skip', 'none'):
            raise UserError(f'missing_mask: must be error, skip or none, not {missing_mask!r}')
        names = load_classes(data_root, classes)
        check_mask_classes(names, data_root)
        self.missing_mask = missing_mask
        super().__init__(data_root, classes=('background', *names), num_foreground=len(names), split=split,
                         img_dir=img_dir, mask_dir=seg_dir, saliency_dir=saliency_dir,
                         require_masks=missing_mask != 'none', **kwargs)

    def _annotate(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        without = [sample for sample in samples if sample['seg_map_path'] is None]
        if self.missing_mask == 'error':
            check_masks_there([sample['stem'] for sample in without], self.mask_dir)
        return samples  # the check of required masks leaves out those without
