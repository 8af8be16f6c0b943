"""CUB-200-2011 as it is distributed."""
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmwsss.datasets.boxes import Boxes, check_boxes
from mmwsss.datasets.layout import load_classes, read_split, read_text, stem_of
from mmwsss.datasets.localization import SingleClassDataset
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError

IMAGE_DIR = 'images'
SPLITS = ('train', 'test')


def read_cub(data_root: str | os.PathLike) -> dict[str, tuple[str, int, bool, Boxes]]:
    """Reads the lists of CUB.

    Args:
        data_root: The folder ``CUB_200_2011`` with ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``
            and ``bounding_boxes.txt``.

    Returns:
        Stem -> path below ``images``, 0-based class, whether it is for training, and the boxes [x0, y0, x1, y1] (CUB
        gives corner and size).

    Raises:
        UserError: If a file is missing or malformed, or two images have one name.
    """
    root = Path(data_root)
    labels, training = (_column(root / name, int) for name in ('image_class_labels.txt', 'train_test_split.txt'))
    boxes = _column(root / 'bounding_boxes.txt', float, count=4)
    images: dict[str, tuple[str, int, bool, Boxes]] = {}
    for key, (name,) in _column(root / 'images.txt', str).items():
        stem = stem_of(name)
        if stem in images:
            raise UserError(f'{root / "images.txt"}: two images are named {stem!r}; rename one')
        if not all(key in column for column in (labels, training, boxes)):
            raise UserError(f'{root / "images.txt"}: image {key} is not in the other lists of the folder; unpack '
                            'CUB_200_2011.tgz again')
        x, y, width, height = boxes[key]
        images[stem] = (name, labels[key][0] - 1, training[key][0] == 1,
                        check_boxes([[x, y, x + width, y + height]], f'{root / "bounding_boxes.txt"}: image {key}'))
    return images


def _column(path: Path, kind: type, count: int = 1) -> dict[str, list[Any]]:
    rows = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        key, *values = line.split(maxsplit=count)
        try:
            rows[key] = [kind(value) for value in values]
        except ValueError:
            values = []
        if len(values) != count:
            raise UserError(f'{path}: line {number} must be a number of an image and {count} more, but is {line!r}')
    return rows


def read_cub_classes(data_root: str | os.PathLike) -> tuple[str, ...]:
    """Returns the class names of CUB's ``classes.txt``, whose lines are a number and a name without spaces."""
    lines = read_text(Path(data_root, 'classes.txt')).splitlines()
    return load_classes(data_root, [line.split()[-1] for line in lines if line.strip()])


@DATASETS.register_module()
class CUBDataset(SingleClassDataset):
    """CUB-200-2011: 200 species of birds, 5,994 images for training and 5,794 for tests, a box each.

    Samples are those of :class:`~mmwsss.datasets.localization.SingleClassDataset`.

    Args:
        data_root: The folder ``CUB_200_2011`` as it is unpacked.
        split: ``'train'``, ``'test'``, or a ``.txt`` list of images, such as one that holds images out.
        classes: Must be ``None``: the names stand in ``classes.txt``.
        **kwargs: See :class:`~mmwsss.datasets.localization.SingleClassDataset`.

    Raises:
        UserError: If a list is missing or malformed, or the split is unknown.
    """

    def __init__(self, data_root: str | os.PathLike, split: str = 'train', classes: Sequence[str] | None = None,
                 **kwargs: Any) -> None:
        names = self.resolve_classes(data_root, classes)
        super().__init__(data_root, classes=names, num_foreground=len(names), split=split, img_dir=IMAGE_DIR,
                         recursive=True, **kwargs)

    @classmethod
    def resolve_classes(cls, data_root: str | os.PathLike, classes: Sequence[str] | None = None) -> tuple[str, ...]:
        """Returns the class names."""
        if classes is not None:
            raise UserError('CUBDataset.classes: is read from classes.txt; leave it out')
        return read_cub_classes(data_root)

    def _split_stems(self, images: dict[str, str]) -> list[str]:
        content = read_cub(self.data_root)
        self.classes_of = {stem: label for stem, (_, label, _, _) in content.items()}
        self.boxes_of = {stem: boxes for stem, (_, _, _, boxes) in content.items()}
        if self.split in SPLITS:
            return [stem for stem, (_, _, training, _) in content.items() if training == (self.split == 'train')]
        if not self.split.endswith('.txt'):
            raise UserError(f'CUBDataset.split: is one of {", ".join(SPLITS)} or a .txt list, not {self.split!r}')
        return read_split(self.data_root, self.split, self.img_dir)
