"""COCO's images and ``instances_*.json`` as a data set in VOC layout."""
import filecmp
import functools
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmwsss.datasets.coco.coco_labels import NO_CLASSES, Instances, coco_classes, read_instances
from mmwsss.datasets.coco.coco_masks import SegmentationError, check_pycocotools, merge_masks, segmentation_mask
from mmwsss.datasets.coco.voc_lists import classes_to_write, listed_name
from mmwsss.datasets.label_sources import multi_hot, read_label_file
from mmwsss.datasets.layout import IMAGE_EXTENSIONS, VOC_IMAGES, VOC_MASKS, find_files, stem_of
from mmwsss.datasets.mask_checks import check_mask_classes
from mmwsss.structures.image_file import image_size
from mmwsss.structures.label_file import IGNORE, label_path, write_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path, write_json, write_lines
from mmwsss.utils.parallel import default_num_workers, parallel_map, progress_bar

MAX_PIXELS = 2 ** 28  # of one image, so that a damaged size does not take all memory


def coco_to_voc(images_dir: str | os.PathLike, instances_json: str | os.PathLike, out_dir: str | os.PathLike,
                split: str | None = None, masks: bool = False, copy: bool = False, use_crowd: bool = True,
                num_workers: int | None = None) -> dict[str, Any]:
    """Writes a data set in VOC layout: ``JPEGImages``, ``ImageSets/<split>.txt``, ``labels.json``, ``classes.txt``.

    Other splits of the same classes may be there already; their labels stay. Called again, it does the same again. A
    ``classes.txt`` that is there is kept and must name all classes of the annotations; otherwise the classes are the
    categories in the order of their ids. Labelme's ``__ignore__`` and the like are no classes.

    Args:
        images_dir: Folder of the images, searched with its sub folders; they are found by their name without folder.
        instances_json: The annotations.
        out_dir: Folder of the data set.
        split: Name of the split; ``None``: that of the json without ``instances_``.
        masks: Also write ``SegmentationClass/<stem>.png``, see
            :func:`~mmwsss.datasets.coco.coco_masks.merge_masks`; crowds and ``__ignore__`` are 255 there. Needs
            pycocotools.
        copy: Copy the images instead of linking to them.
        use_crowd: Also take labels from annotations that are marked ``iscrowd``.
        num_workers: Processes that draw masks; 0: this one does, ``None``: one per CPU.

    Returns:
        A summary: ``split``; ``num_images`` and ``num_unlabelled`` of it, the latter without a class: their labels say
        so; ``num_classes``; ``skipped``, (path, reason) of what is not in the split: images without a file,
        whose mask cannot be drawn, or that have nothing but crowds which ``use_crowd=False`` does not count.

    Raises:
        UserError: If the json is damaged, two images have one name, ``out_dir`` holds another image of a name, or
            nothing is left.
    """
    if split is None:
        split = Path(instances_json).stem.removeprefix('instances_')
    if not split or Path(split).name != split or split.endswith('.txt'):
        raise UserError(f'--split: must be a plain name such as train, not {split!r}')
    num_workers = default_num_workers() if num_workers is None else num_workers
    root = Path(out_dir)
    instances = read_instances(instances_json, outlines=masks)
    files = find_files(images_dir, IMAGE_EXTENSIONS, recursive=True)
    if masks and any(isinstance(item.get('segmentation'), list) for _, items in instances.images for item in items):
        check_pycocotools()
    classes = classes_to_write(root, coco_classes(instances), instances_json)
    if masks:
        check_mask_classes(classes, root, 'do without --masks')
    images = _by_stem(instances, instances_json)
    labels = {stem: instances.class_names(items, use_crowd) for stem, (_, items) in images.items()}
    for stem, names in labels.items():
        multi_hot(names, classes, instances_json, stem)
    skipped = [(os.path.join(images_dir, image['file_name']), 'missing image')
                 for stem, (image, _) in images.items() if stem not in files]
    images = {stem: image for stem, image in images.items() if stem in files}
    crowded = [stem for stem, (_, items) in images.items() if items and not labels[stem]]
    skipped += [(files[stem], 'no label: all its annotations are crowds, which are not counted') for stem in crowded]
    images = {stem: image for stem, image in images.items() if stem not in crowded}
    labels = {stem: [name for name in labels[stem] if name not in NO_CLASSES] for stem in images}
    old_labels = read_label_file(root / 'labels.json') if (root / 'labels.json').exists() else {}
    listed = {stem: listed_name(stem) for stem in (*old_labels, *images)}

    for folder in (VOC_IMAGES, 'ImageSets', VOC_MASKS)[:2 + masks]:
        (root / folder).mkdir(parents=True, exist_ok=True)
    place_images({stem: files[stem] for stem in images}, root / VOC_IMAGES, copy)
    if masks:
        failed = _write_masks(images, files, instances, classes, root / VOC_MASKS, num_workers)
        skipped += [(files[stem], reason) for stem, reason in failed.items()]
        images = {stem: image for stem, image in images.items() if stem not in failed}
    if not images:
        path, reason = skipped[0] if skipped else (instances_json, 'lists no image')
        raise UserError(f'{path}: {reason} (and no image is left for the split {split})')
    write_lines(root / 'classes.txt', classes)
    labels = {stem: labels[stem] for stem in images}
    write_json(root / 'labels.json', {listed[stem]: names for stem, names in (old_labels | labels).items()})
    write_lines(root / 'ImageSets' / f'{split}.txt', [listed[stem] for stem in images])
    return dict(split=split, num_images=len(images), num_unlabelled=sum(not labels[stem] for stem in images),
                num_classes=len(classes), skipped=skipped)


def _by_stem(instances: Instances, path: str | os.PathLike) -> dict[str, tuple[dict, list[dict]]]:
    images: dict[str, tuple[dict, list[dict]]] = {}
    for image, annotations in instances.images:
        stem = stem_of(image['file_name'].strip())
        if not stem or stem in images:
            raise UserError(f'{path}: image {image["file_name"]!r}: has no name, or that of another image; rename it '
                            '(folder and extension of the name do not count)')
        images[stem] = image, annotations
    return images


def place_images(files: dict[str, str], folder: Path, copy: bool) -> None:
    """Links or copies images into a folder under their stems.

    What is there already is left, but for a link where a copy is asked for: the copy takes its place.

    Args:
        files: Stem -> image.
        folder: The folder; it exists.
        copy: Copy the images instead of linking to them.

    Raises:
        UserError: If another image of a stem is there already.
    """
    there = find_files(folder, IMAGE_EXTENSIONS)
    with progress_bar() as progress:
        for stem, source in progress.track(files.items(), description='images'):
            if stem in there:
                if not os.path.samefile(source, there[stem]) and not filecmp.cmp(source, there[stem], shallow=False):
                    raise UserError(f'{there[stem]}: is there already and is another image than {source}; choose '
                                    'another --out-dir')
                if not copy or not os.path.islink(there[stem]):
                    continue
            target = Path(there.get(stem, folder / f'{stem}{Path(source).suffix}'))
            if copy:
                with atomic_path(target) as temporary:
                    shutil.copyfile(source, temporary)
            else:
                target.unlink(missing_ok=True)  # a link to what is gone
                target.symlink_to(os.path.abspath(source))


@dataclass
class _Job:
    """One image whose mask is to be drawn."""

    stem: str
    path: str
    image: dict
    segmentations: list[Any]
    values: list[int]


def _write_masks(images: dict[str, tuple[dict, list[dict]]], files: dict[str, str], instances: Instances,
                 classes: Sequence[str], folder: Path, num_workers: int) -> dict[str, str]:
    """Writes the masks; returns stem -> reason for those that cannot be drawn."""
    # A category that is no class is one of NO_CLASSES, since the others were checked.
    value_of = {key: classes.index(name) + 1 for key, name in instances.categories.items() if name in classes}
    write = functools.partial(_write_mask, folder)
    jobs = (_Job(stem, files[stem], image, [item.get('segmentation') for item in items],
                 [IGNORE if item.get('iscrowd') else value_of.get(item['category_id'], IGNORE) for item in items])
            for stem, (image, items) in images.items())
    with progress_bar() as progress:
        results = progress.track(parallel_map(write, jobs, num_workers), len(images), description='masks')
        return {stem: reason for stem, reason in results if reason}


def _write_mask(folder: Path, job: _Job) -> tuple[str, str]:
    height, width = job.image.get('height'), job.image.get('width')
    if not all(isinstance(side, int) and side > 0 for side in (height, width)) or height * width > MAX_PIXELS:
        return job.stem, f'no mask: the json gives no usable height and width, but {height!r} and {width!r}'
    try:
        size = image_size(job.path)
    except UserError as error:
        return job.stem, str(error).removeprefix(f'{job.path}: ')
    if size != (height, width):
        turned = ', turned as its EXIF orientation says' if size == (width, height) else ''
        return job.stem, (f'no mask: the json is for an image of {height} x {width} (height x width), but it is '
                          f'{size[0]} x {size[1]}{turned}')
    try:
        masks = [segmentation_mask(segmentation, height, width) for segmentation in job.segmentations]
    except SegmentationError as error:
        return job.stem, f'no mask: {error}'
    write_label(label_path(folder, job.stem), merge_masks(masks, job.values, height, width))
    return job.stem, ''
