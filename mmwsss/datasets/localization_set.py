"""Writes localization sets: images of one class with boxes and, where there are some, masks, all in one format.

``JPEGImages``, ``ImageSets/<split>.txt``, ``classes.txt`` and ``labels.json`` as in VOC layout, so that every tool of
the package takes such a folder; ``boxes.json`` {stem: [[x0, y0, x1, y1], ...]} in pixels, x1 and y1 excluded;
``Masks/<stem>.png``: 0 background, 1 object, 255 ignored. Read by
:class:`~mmwsss.datasets.localization.LocalizationDataset`.
"""
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.datasets.base import SkippedFile
from mmwsss.datasets.boxes import (
    BOXES_FILE,
    Boxes,
    check_boxes,
    check_share,
    component_boxes,
    read_boxes,
    write_boxes,
)
from mmwsss.datasets.coco.coco_labels import NO_CLASSES, class_name, coco_classes, read_instances
from mmwsss.datasets.coco.coco_masks import SegmentationError, merge_masks, segmentation_mask
from mmwsss.datasets.coco.coco_to_voc import place_images
from mmwsss.datasets.coco.voc_lists import classes_to_write, listed_name
from mmwsss.datasets.cub import IMAGE_DIR, SPLITS, read_cub, read_cub_classes
from mmwsss.datasets.label_sources import read_label_file
from mmwsss.datasets.layout import (
    IMAGE_EXTENSIONS,
    MAP_EXTENSIONS,
    find_files,
    find_files_anywhere,
    load_classes,
    read_split,
    stem_of,
)
from mmwsss.datasets.preflight import check_files
from mmwsss.structures.image_file import FileCheck
from mmwsss.structures.label_file import IGNORE, label_path, read_label, write_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json, write_lines
from mmwsss.utils.parallel import progress_bar

MASK_DIR = 'Masks'


@dataclass
class LocalizationImage:
    """One image of a localization set.

    Attributes:
        path: The image.
        label: Its class.
        boxes: Its boxes.
        mask: Makes its mask, uint8 [H, W]; ``None``: it has none.
        size: Height and width of the image that the boxes are for; ``None``: not known.
    """
    path: str
    label: str
    boxes: Boxes = field(default_factory=list)
    mask: Callable[[], np.ndarray] | None = None
    size: tuple[int, int] | None = None


def write_localization_set(out_dir: str | os.PathLike, split: str, images: Mapping[str, LocalizationImage],
                           classes: Sequence[str], copy: bool = False, skipped: Sequence[SkippedFile] = (),
                           source: str | os.PathLike = 'classes') -> dict[str, Any]:
    """Writes one split; other splits of the same classes may be there already.

    Images whose boxes or mask are for an image of another size are left out.

    Args:
        out_dir: Folder of the set.
        split: Name of the split.
        images: Stem -> image.
        classes: Class names.
        copy: Copy the images instead of linking to them.
        skipped: What was left out so far, (path, reason).
        source: What the classes come from, for messages.

    Returns:
        A summary: ``split``, ``num_images``, ``num_boxes``, ``num_masks``, ``num_classes`` and ``skipped``.

    Raises:
        UserError: If nothing is left, the folder holds other classes or other images of the same names, a class or an
            image has a name that no list can hold, or the list of the split is there already and would get images back
            that another split has by now.
    """
    if not split or Path(split).name != split or split.endswith('.txt'):
        raise UserError(f'--split: must be a plain name such as train, not {split!r}')
    root = Path(out_dir)
    names = classes_to_write(root, classes, source)
    images = {stem: replace(image, label=class_name(image.label)) for stem, image in images.items()}
    if unknown := [image.label for image in images.values() if image.label not in names]:
        raise UserError(f'{root / "classes.txt"}: has no class {unknown[0]!r}; write the set into a folder of its own')
    _check_not_put_back(root, split, images)
    labels = read_label_file(root / 'labels.json') if (root / 'labels.json').exists() else {}
    boxes = read_boxes(root / BOXES_FILE) if (root / BOXES_FILE).exists() else {}
    listed = {stem: listed_name(stem) for stem in (*labels, *boxes, *images)}
    skipped = list(skipped)
    checks = check_files([image.path for image in images.values()], 'image')
    for stem, image in list(images.items()):
        if reason := checks[image.path].reason or _size_reason('the boxes are for', image.size, checks[image.path]):
            skipped.append((image.path, reason))
            del images[stem]
    for folder in ('JPEGImages', 'ImageSets', MASK_DIR)[:2 + any(image.mask for image in images.values())]:
        (root / folder).mkdir(parents=True, exist_ok=True)
    # Before the masks: those of other images of the same names must stay.
    place_images({stem: image.path for stem, image in images.items()}, root / 'JPEGImages', copy)
    skipped += _write_masks(root, images, checks)
    if not images:
        path, reason = skipped[0] if skipped else (root, 'there is no image')
        raise UserError(f'{path}: {reason} (and no image is left for the split {split})')
    labels |= {stem: [image.label] for stem, image in images.items()}
    boxes |= {stem: image.boxes for stem, image in images.items()}
    write_lines(root / 'classes.txt', names)
    write_json(root / 'labels.json', {listed[stem]: found for stem, found in labels.items()})
    write_boxes(root / BOXES_FILE, {listed[stem]: found for stem, found in boxes.items()})
    write_lines(root / 'ImageSets' / f'{split}.txt', [listed[stem] for stem in images])
    return dict(split=split, num_images=len(images), num_boxes=sum(len(image.boxes) for image in images.values()),
                num_masks=sum(image.mask is not None for image in images.values()), num_classes=len(names),
                skipped=skipped)


def _check_not_put_back(root: Path, split: str, stems: Iterable[str]) -> None:
    """Refuses a list that gets images back which another split has by now: held-out images would be trained on."""
    lists = {path.stem: path for path in sorted((root / 'ImageSets').glob('*.txt')) if path.stat().st_size}
    if split not in lists:
        return
    new = set(stems).difference(read_split(root, split))
    for name, path in lists.items():
        if name != split and (again := sorted(new.intersection(read_split(root, name)))):
            raise UserError(f'{lists[split]}: is there already, and would get {again[0]!r} back, which is in {path} '
                            f'now; remove {path} to make both again, or choose another --out-dir')


def _size_reason(what: str, size: tuple[int, int] | None, check: FileCheck) -> str:
    if size in (None, (check.height, check.width)):
        return ''
    turned = ', turned as its EXIF orientation says' if check.turned and size == (check.width, check.height) else ''
    return f'{what} {size[0]} x {size[1]} (height x width), but the image is {check.height} x {check.width}{turned}'


def _write_masks(root: Path, images: dict[str, LocalizationImage],
                 checks: Mapping[str, FileCheck]) -> list[SkippedFile]:
    skipped = []
    with progress_bar() as progress:
        for stem, image in progress.track(list(images.items()), description='masks'):
            if image.mask is None:
                continue
            try:
                mask = image.mask()
                reason = _size_reason('it is', mask.shape, checks[image.path])
            except (UserError, SegmentationError) as error:
                reason = str(error)
            if reason:
                skipped.append((image.path, f'no mask: {reason}'))
                del images[stem]
            else:
                write_label(label_path(root / MASK_DIR, stem), mask)
    return skipped


def check_hold_out(root: str | os.PathLike, split: str, share: float, name: str = 'held_out') -> None:
    """Refuses what :func:`hold_out` cannot do, also before there is a set.

    Args:
        root: Folder of the set; it need not exist.
        split: The split that images will be taken from.
        share: Their share.
        name: The new split.

    Raises:
        UserError: If the share is not in (0, 1), or the new split is there already or is to be taken from itself.
    """
    if not 0 < share < 1:
        raise UserError(f'--held-out: must be a share between 0 and 1, not {share}')
    if split == name:
        raise UserError(f'--held-out: takes images out of the split {split} as a split of the same name; choose '
                        'another name for it')
    path = Path(root, 'ImageSets', f'{name}.txt')
    if path.exists():
        raise UserError(f'{path}: is there already, and the images of a split are held out once; remove it to choose '
                        'them anew, or do without --held-out')


def hold_out(root: str | os.PathLike, split: str = 'train', share: float = 0.2,
             name: str = 'held_out') -> dict[str, int]:
    """Takes images out of a split, to choose thresholds on: those with full labels of the held-out protocol.

    Of every class the same share, at least one image and never all; which ones depends on their names alone.

    Args:
        root: Folder of a localization set; ``boxes.json`` must have boxes of the images.
        split: The split they are taken from.
        share: Their share, in (0, 1).
        name: The new split.

    Returns:
        The number of images of both splits by name.

    Raises:
        UserError: See :func:`check_hold_out`; also if an image has neither box nor mask.
    """
    check_hold_out(root, split, share, name)
    root = Path(root)
    labels = read_label_file(root / 'labels.json')
    stems = read_split(root, split)
    by_class: dict[str, list[str]] = defaultdict(list)
    for stem in sorted(stems, key=lambda stem: hashlib.sha256(stem.encode()).hexdigest()):
        by_class[labels[stem][0]].append(stem)
    held = {stem for found in by_class.values()
            for stem in found[:min(len(found) - 1, max(1, round(share * len(found))))]}
    boxes = read_boxes(root / BOXES_FILE)
    masks = find_files_anywhere(root / MASK_DIR, MAP_EXTENSIONS)
    for stem in held:
        if not boxes.get(stem) and stem not in masks:
            raise UserError(f'{root / BOXES_FILE}: has no box of {stem!r}, and there is no mask; held-out images need '
                            'full labels')
    kept = {split: [stem for stem in stems if stem not in held], name: [stem for stem in stems if stem in held]}
    for part, found in kept.items():
        if not found:
            raise UserError(f'{root}: the split {split} has too few images to hold some out')
        write_lines(root / 'ImageSets' / f'{part}.txt', map(listed_name, found))
    return {part: len(found) for part, found in kept.items()}


def masks_to_localization(data_root: str | os.PathLike, out_dir: str | os.PathLike, split: str, name: str | None = None,
                          min_share: float = 0.05, copy: bool = False) -> dict[str, Any]:
    """Makes a split of the images of a VOC layout whose mask shows a single class.

    The boxes are those of the 8-connected components of the class. Objects of one class that touch have one box:
    semantic masks do not tell them apart.

    Args:
        data_root: Folder in VOC layout with ``SegmentationClass``.
        out_dir: Folder of the set.
        split: The split of ``data_root``.
        name: What it is called in the set; ``None``: the same.
        min_share: See :func:`~mmwsss.datasets.boxes.component_boxes`.
        copy: Copy the images instead of linking to them.

    Returns:
        See :func:`write_localization_set`; images of several classes are only counted, under ``num_other``.

    Raises:
        UserError: See there; also for a mask with an unknown id.
    """
    check_share(min_share, '--min-share')
    root = Path(data_root)
    classes = load_classes(root)
    files = find_files_anywhere(root / 'JPEGImages', IMAGE_EXTENSIONS)
    masks = find_files_anywhere(root / 'SegmentationClass', MAP_EXTENSIONS)
    images: dict[str, LocalizationImage] = {}
    skipped: list[SkippedFile] = []
    num_other = 0
    for stem in read_split(root, split):
        path = masks.get(stem, label_path(root / 'SegmentationClass', stem))
        if stem not in files:
            skipped.append((str(root / 'JPEGImages' / stem), 'missing image'))
            continue
        try:
            mask = read_label(path)
        except UserError as error:
            skipped.append((files[stem], str(error)))
            continue
        ids = np.setdiff1d(np.unique(mask), [0, IGNORE])
        if len(ids) and ids[-1] > len(classes):
            raise UserError(f'{path}: has the id {ids[-1]}, but there are {len(classes)} foreground classes; correct '
                            'the mask or the class list')
        if len(ids) != 1:
            num_other += 1
            continue
        images[stem] = LocalizationImage(files[stem], classes[ids[0] - 1], component_boxes(mask == ids[0], min_share),
                                         lambda path=path: _as_object(read_label(path)))
    summary = write_localization_set(out_dir, name or split, images, classes, copy, skipped, root)
    return dict(summary, num_other=num_other)


def _as_object(mask: np.ndarray) -> np.ndarray:
    return np.where((mask != 0) & (mask != IGNORE), 1, mask).astype(np.uint8)


def cub_to_localization(data_root: str | os.PathLike, out_dir: str | os.PathLike, split: str, name: str | None = None,
                        copy: bool = False) -> dict[str, Any]:
    """Makes a split of CUB-200-2011.

    Args:
        data_root: The folder ``CUB_200_2011``.
        out_dir: Folder of the set.
        split: ``'train'`` or ``'test'``.
        name: What it is called in the set; ``None``: the same.
        copy: Copy the images instead of linking to them.

    Returns:
        See :func:`write_localization_set`.

    Raises:
        UserError: See there and :func:`~mmwsss.datasets.cub.read_cub`; also for an unknown split.
    """
    if split not in SPLITS:
        raise UserError(f'--split: is one of {", ".join(SPLITS)} for CUB, not {split!r}')
    classes = read_cub_classes(data_root)
    images, skipped = {}, []
    for stem, (path, label, training, boxes) in read_cub(data_root).items():
        if training == (split == 'train'):
            images[stem] = LocalizationImage(str(Path(data_root, IMAGE_DIR, path)), classes[label], boxes)
    return write_localization_set(out_dir, name or split, images, classes, copy, skipped, data_root)


def coco_to_localization(images_dir: str | os.PathLike, instances_json: str | os.PathLike, out_dir: str | os.PathLike,
                         split: str, masks: bool = False, min_area: float = 0., copy: bool = False) -> dict[str, Any]:
    """Makes a split of the images of COCO that show objects of a single category.

    Args:
        images_dir: Folder of the images, searched with its sub folders.
        instances_json: The annotations. A box is [x, y, width, height] there.
        out_dir: Folder of the set.
        split: Name of the split.
        masks: Also write the masks of the objects.
        min_area: Images in which an object has a smaller share of the image's area are left out: COCO has many that no
            map of a classifier shows.
        copy: Copy the images instead of linking to them.

    Returns:
        See :func:`write_localization_set`; images of no or several categories, with crowds or small objects are counted
        under ``num_other`` only. Labelme's ``__ignore__`` and the like are no category to have images of.

    Raises:
        UserError: See there and :func:`~mmwsss.datasets.coco.coco_labels.read_instances`.
    """
    check_share(min_area, '--min-area')
    instances = read_instances(instances_json)
    files = find_files(images_dir, IMAGE_EXTENSIONS, recursive=True)
    images: dict[str, LocalizationImage] = {}
    skipped: list[SkippedFile] = []
    num_other = 0
    for image, items in instances.images:
        stem = stem_of(image['file_name'].strip())
        names = instances.class_names(items)
        if len(names) != 1 or names[0] in NO_CLASSES or any(item.get('iscrowd') for item in items):
            num_other += 1
            continue
        if stem not in files:
            skipped.append((os.path.join(images_dir, image['file_name']), 'missing image'))
            continue
        boxes = [_coco_box(item, f'{instances_json}: image {stem!r}') for item in items]
        height, width = image.get('height'), image.get('width')
        if not all(isinstance(side, int) and side > 0 for side in (height, width)):
            raise UserError(f'{instances_json}: image {stem!r}: has no height and width')
        if any((x1 - x0) * (y1 - y0) < min_area * height * width for x0, y0, x1, y1 in boxes):
            num_other += 1
            continue
        images[stem] = LocalizationImage(
            files[stem], names[0], boxes,
            (lambda items=items, size=(height, width): merge_masks(
                [segmentation_mask(item.get('segmentation'), *size) for item in items], [1] * len(items), *size))
            if masks else None, size=(height, width))
    summary = write_localization_set(out_dir, split, images, coco_classes(instances), copy, skipped, instances_json)
    return dict(summary, num_other=num_other)


def _coco_box(item: dict, place: str) -> list[float]:
    box = item.get('bbox')
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, (int, float)) for side in box):
        raise UserError(f'{place}: {box!r} is no bbox [x, y, width, height]; correct or remove the annotation')
    x, y, width, height = box
    return check_boxes([[x, y, x + width, y + height]], place)[0]
