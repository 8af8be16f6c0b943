"""ILSVRC's classification and localization data (CLS-LOC) as they are distributed."""
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmwsss.datasets.base import SkippedFile
from mmwsss.datasets.boxes import Boxes, read_xml_boxes
from mmwsss.datasets.layout import find_split, load_classes, read_split, read_text, stem_of
from mmwsss.datasets.localization import SingleClassDataset
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError

SYNSETS_FILE = 'LOC_synset_mapping.txt'
SPLIT_FILES = dict(train='ImageSets/CLS-LOC/train_cls.txt', val='ImageSets/CLS-LOC/val.txt')


@DATASETS.register_module()
class ILSVRCLocalization(SingleClassDataset):
    """ILSVRC CLS-LOC: 1,000 classes, 1.28 million images for training, 50,000 with boxes for validation.

    ``Data/CLS-LOC/train/<id>/*.JPEG``, ``Data/CLS-LOC/val/*.JPEG``, ``Annotations/CLS-LOC/**/*.xml``,
    ``ImageSets/CLS-LOC/*.txt`` and ``LOC_synset_mapping.txt``. Classes are named by their WordNet id, since two pairs
    of them share a word. In training the class is the folder of an image, in validation the object of its annotation;
    an image has several boxes where it shows several objects of its class. Samples are those of
    :class:`~mmwsss.datasets.localization.SingleClassDataset`.

    Args:
        data_root: The folder ``ILSVRC`` with the above in it.
        split: ``'train'``, ``'val'``, or a ``.txt`` list of images of ``val``, such as one that holds some out.
        classes: WordNet ids, for a part of the classes; ``None``: those of ``LOC_synset_mapping.txt``. Images of other
            classes are left out.
        **kwargs: See :class:`~mmwsss.datasets.localization.SingleClassDataset`.

    Raises:
        UserError: If a list is missing or malformed.
    """

    def __init__(self, data_root: str | os.PathLike, split: str = 'train', classes: Sequence[str] | None = None,
                 **kwargs: Any) -> None:
        names = self.resolve_classes(data_root, classes)
        self.part = 'train' if split == 'train' else 'val'
        super().__init__(data_root, classes=names, num_foreground=len(names), split=split,
                         img_dir=f'Data/CLS-LOC/{self.part}', recursive=True, **kwargs)

    @classmethod
    def resolve_classes(cls, data_root: str | os.PathLike, classes: Sequence[str] | None = None) -> tuple[str, ...]:
        """Returns the WordNet ids of the classes."""
        if classes is None:
            path = Path(data_root, SYNSETS_FILE)
            classes = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
        return load_classes(data_root, classes)

    def _split_stems(self, images: dict[str, str]) -> list[str]:
        if self.split not in SPLIT_FILES:
            if not self.split.endswith('.txt'):
                raise UserError(f'ILSVRCLocalization.split: is train, val or a .txt list, not {self.split!r}')
            return read_split(self.data_root, self.split, self.img_dir)
        path = find_split(self.data_root, SPLIT_FILES[self.split])
        # Lines are an image and its number.
        return [stem_of(line.split()[0]) for line in read_text(path).splitlines() if line.strip()]

    def _annotate(self, samples: list[dict], skipped: list[SkippedFile]) -> list[dict]:
        place = {name: i for i, name in enumerate(self._metainfo['classes'])}
        self.classes_of, self.boxes_of, usable = {}, {}, []
        for sample in samples:
            stem = sample['stem']
            name = Path(sample['img_path']).parent.name
            if self.part == 'val' or self.require_boxes:
                try:
                    name, self.boxes_of[stem] = self._annotation(stem, name)
                except UserError as error:  # of one file; the others go on
                    skipped.append((sample['img_path'], str(error)))
                    continue
            if name not in place:
                skipped.append((sample['img_path'], f'is of class {name}, which is not in the class list'))
                continue
            self.classes_of[stem] = place[name]
            usable.append(sample)
        return super()._annotate(usable, skipped)

    def _annotation(self, stem: str, folder: str) -> tuple[str, Boxes]:
        path = Path(self.data_root, 'Annotations/CLS-LOC', self.part, folder if self.part == 'train' else '',
                    f'{stem}.xml')
        boxes = read_xml_boxes(path)
        if len(boxes) != 1:
            raise UserError(f'{path}: has objects of {len(boxes)} classes')
        return next(iter(boxes.items()))
