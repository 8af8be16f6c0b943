"""The pictures that a dry run makes where there are no data: a folder like those that real runs are given."""
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.datasets.layout import CLASS_LIST, JSON_LABELS, SALIENCY, SPLIT_ALIASES, VOC_MASKS, VOC_XML
from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout
from mmwsss.datasets.voc_devkit import SPLITS, TRAIN_AUG, VOC_CLASSES, voc_to_layout
from mmwsss.experiments.pipeline.dry_config import IMAGES
from mmwsss.structures.label_file import read_label
from mmwsss.utils.fileio import write_bytes

# What the devkit calls the folder.
VOC = 'VOC2012'


def are_of_voc(splits: Iterable[str]) -> bool:
    """Says whether splits are those of a pipeline for PASCAL VOC, which alone has one with SBD's images."""
    return any(split in SPLIT_ALIASES for split in splits)


def make_dry_data(root: str | Path, splits: Iterable[str], classes: Iterable[str] | None = None,
                  size: int = 160) -> DataFolder:
    """Writes four generated pictures in VOC layout, with masks and saliency maps, and lists of splits.

    Those for PASCAL VOC (:func:`are_of_voc`) lie as its devkit has them (classes in ``Annotations/*.xml`` only, lists
    in ``ImageSets/Segmentation``, ``trainaug.txt`` of mmsegmentation's converter), and are converted as a real VOC is,
    by :func:`mmwsss.datasets.voc_devkit.voc_to_layout`. Others have one ``labels.json``.

    Args:
        root: The folder to write.
        splits: Names of the splits. Those that begin with val or test list two of the pictures, all others the other
            two.
        classes: Names of the classes; ``None``: 20, as many as VOC has.
        size: Long side of the pictures, pixels.

    Returns:
        The data set.
    """
    splits = list(splits)
    voc = are_of_voc(splits)
    names, made = list(classes or ()), Path(root)
    if voc:
        names, made = names or list(VOC_CLASSES), made / 'VOCdevkit' / VOC
    generate_voc_layout(made, num_train=IMAGES, num_val=IMAGES, num_classes=len(names) or len(VOC_CLASSES), size=size)
    lists = {split: (made / f'ImageSets/{"val" if split.startswith(("val", "test")) else "train"}.txt').read_bytes()
             for split in ('train', 'val', *splits)}
    if voc:
        return _as_devkit(made, Path(root), lists, names)
    for split, stems in lists.items():
        write_bytes(made / 'ImageSets' / f'{split}.txt', stems)
    return DataFolder.find(made)


def _as_devkit(devkit: Path, root: Path, lists: dict[str, bytes], names: Sequence[str]) -> DataFolder:
    """Replaces what only generated data have by what VOC has, and converts it."""
    for path in (devkit / 'ImageSets').glob('*.txt'):
        path.unlink()
    for name in (CLASS_LIST, JSON_LABELS):
        (devkit / name).unlink()
    for folder in (SPLITS, VOC_XML):
        (devkit / folder).mkdir(parents=True)
    for split, stems in lists.items():
        name = SPLIT_ALIASES[split] if split == TRAIN_AUG else split
        write_bytes(devkit / SPLITS / f'{name}.txt', stems)
    for path in (devkit / VOC_MASKS).glob('*.png'):
        write_bytes(devkit / VOC_XML / f'{path.stem}.xml', _annotation(path, names))
    voc_to_layout(devkit.parent, root / VOC)
    shutil.move(devkit / SALIENCY, root / VOC / SALIENCY)  # VOC has none: mmwsss saliency writes them there
    return DataFolder.find(root / VOC)


def _annotation(mask: Path, names: Sequence[str]) -> bytes:
    """Returns VOC's annotation of a mask: one object for each class, with the box around all of it."""
    label = read_label(mask)
    root = ElementTree.Element('annotation')
    for tag, text in (('folder', VOC), ('filename', f'{mask.stem}.jpg'), ('segmented', '1')):
        ElementTree.SubElement(root, tag).text = text
    shape = ElementTree.SubElement(root, 'size')
    for tag, value in (('width', label.shape[1]), ('height', label.shape[0]), ('depth', 3)):
        ElementTree.SubElement(shape, tag).text = str(value)
    for index, name in enumerate(names, start=1):
        rows, columns = np.nonzero(label == index)
        if rows.size:
            item = ElementTree.SubElement(root, 'object')
            for tag, text in (('name', name), ('pose', 'Unspecified'), ('truncated', '0'), ('difficult', '0')):
                ElementTree.SubElement(item, tag).text = text
            box = ElementTree.SubElement(item, 'bndbox')
            for tag, value in (('xmin', columns.min() + 1), ('ymin', rows.min() + 1), ('xmax', columns.max() + 1),
                               ('ymax', rows.max() + 1)):  # VOC counts pixels from 1
                ElementTree.SubElement(box, tag).text = str(value)
    return ElementTree.tostring(root)
