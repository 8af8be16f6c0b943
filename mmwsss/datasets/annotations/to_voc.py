"""Annotations of labelling programs as a data set in VOC layout."""
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmwsss.datasets.annotations.readers import READERS, Annotation
from mmwsss.datasets.coco.coco_masks import merge_masks
from mmwsss.datasets.coco.coco_to_voc import place_images
from mmwsss.datasets.coco.voc_lists import classes_to_write, listed_name
from mmwsss.datasets.label_sources import multi_hot, read_label_file
from mmwsss.datasets.layout import (
    CLASS_LIST,
    IMAGE_EXTENSIONS,
    JSON_LABELS,
    NO_CLASSES,
    VOC_IMAGES,
    VOC_MASKS,
    find_files_anywhere,
)
from mmwsss.datasets.mask_checks import check_mask_classes
from mmwsss.structures.image_file import image_size
from mmwsss.structures.label_file import IGNORE, label_path, write_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json, sha256_of_file, write_json, write_lines
from mmwsss.utils.parallel import default_num_workers, parallel_map, progress_bar

WRITTEN = '.written.json'  # in the folder of the masks: stem -> sha256 of the masks that were written here


def annotations_to_voc(program: str, source: str | os.PathLike, out_dir: str | os.PathLike,
                       images_dir: str | os.PathLike | None = None, split: str = 'train', masks: bool = False,
                       copy: bool = False, num_workers: int | None = None) -> dict[str, Any]:
    """Writes a data set in VOC layout: ``JPEGImages``, ``ImageSets/<split>.txt``, ``labels.json``, ``classes.txt``.

    Other splits of the same classes may be there already; their labels stay. A ``classes.txt`` that is there is kept
    and must name all classes; otherwise the classes are those of the program's own list, or sorted by name.

    Args:
        program: A key of :data:`~mmwsss.datasets.annotations.readers.READERS`: ``'labelme'``, ``'labelimg'``,
            ``'cvat'``, ``'folders'`` (a folder for each class).
        source: Folder of the annotations; of CVAT the XML, or the folder with ``annotations.xml``.
        out_dir: Folder of the data set.
        images_dir: Folder of the images; ``None``: that of the annotations.
        split: Name of the split.
        masks: Also write ``SegmentationClass/<stem>.png`` for images of which all objects have an area (polygon,
            circle, mask): the smaller of two on top, 255 for labelme's ``__ignore__``, below all objects. The mask that
            an earlier call wrote for an image is removed where it can no longer be drawn.
        copy: Copy the images instead of linking to them.
        num_workers: Processes that draw masks; 0: this one does, ``None``: one per CPU.

    Returns:
        A summary: ``split``; ``num_images`` and ``num_unlabelled`` of it, the latter without a class; ``num_masks``;
        ``num_classes``; ``skipped``, (path, reason) of images that are not there, and of masks that cannot be drawn.

    Raises:
        UserError: If the annotations are damaged, two images have one name, or nothing is left.
    """
    source, root = Path(source), Path(out_dir)
    if not source.exists():
        raise UserError(f'{source}: no such file or folder')
    if not split or Path(split).name != split or split.endswith('.txt'):
        raise UserError(f'--split: must be a plain name such as train, not {split!r}')
    folder = Path(images_dir) if images_dir is not None else source if source.is_dir() else source.parent
    annotations, own_classes = READERS[program](source, folder)
    names = own_classes or sorted({name for annotation in annotations for name in annotation.names})
    classes = classes_to_write(root, names, source)
    if masks:
        check_mask_classes(classes, root, 'do without --masks')
    by_stem: dict[str, Annotation] = {}
    for annotation in annotations:
        multi_hot(annotation.names, classes, annotation.source, annotation.stem)
        if (other := by_stem.setdefault(annotation.stem, annotation)) is not annotation:
            raise UserError(f'{annotation.source}: is for an image {annotation.stem!r}, as {other.source} is; rename '
                            'one (folder and extension of the name do not count)')
    files, skipped = _find_images(by_stem, folder)
    by_stem = {stem: annotation for stem, annotation in by_stem.items() if stem in files}
    if not by_stem:
        path, reason = skipped[0] if skipped else (source, 'holds no annotations')
        raise UserError(f'{path}: {reason} (and no image is left for the split {split})')
    labels = {stem: [name for name in annotation.names if name not in NO_CLASSES]
              for stem, annotation in by_stem.items()}
    old_labels = read_label_file(root / JSON_LABELS) if (root / JSON_LABELS).exists() else {}
    listed = {stem: listed_name(stem) for stem in (*old_labels, *by_stem)}
    for name in (VOC_IMAGES, 'ImageSets', VOC_MASKS)[:2 + masks]:
        (root / name).mkdir(parents=True, exist_ok=True)
    place_images(files, root / VOC_IMAGES, copy)
    failed = {}
    if masks:
        workers = default_num_workers() if num_workers is None else num_workers
        failed = _write_masks(by_stem, files, classes, root / VOC_MASKS, workers)
        _note_masks(root / VOC_MASKS, by_stem, failed)
        skipped += [(files[stem], reason) for stem, reason in failed.items()]
    write_lines(root / CLASS_LIST, classes)
    write_json(root / JSON_LABELS, {listed[stem]: names for stem, names in (old_labels | labels).items()})
    write_lines(root / 'ImageSets' / f'{split}.txt', [listed[stem] for stem in by_stem])
    return dict(split=split, num_images=len(by_stem), num_unlabelled=sum(not names for names in labels.values()),
                num_masks=len(by_stem) - len(failed) if masks else 0, num_classes=len(classes), skipped=skipped)


def _find_images(by_stem: dict[str, Annotation], folder: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    files, skipped, there = {}, [], None
    for stem, annotation in by_stem.items():
        path = annotation.image
        if not path.is_file():  # the paths of another computer: by name
            there = find_files_anywhere(folder, IMAGE_EXTENSIONS) if there is None else there
            path = there.get(stem)
        if path is None:
            skipped.append((str(annotation.image), f'missing image, of {annotation.source.name}'))
        else:
            files[stem] = str(path)
    return files, skipped


def _write_masks(by_stem: dict[str, Annotation], files: dict[str, str], classes: Sequence[str], folder: Path,
                 num_workers: int) -> dict[str, str]:
    """Writes the masks; returns stem -> reason for those that cannot be drawn."""
    write = functools.partial(_write_mask, folder, tuple(classes))
    jobs = [(annotation, files[stem]) for stem, annotation in by_stem.items()]
    with progress_bar() as progress:
        results = progress.track(parallel_map(write, jobs, num_workers), len(jobs), description='masks')
        return {stem: reason for stem, reason in results if reason}


def _note_masks(folder: Path, stems: Iterable[str], failed: dict[str, str]) -> None:
    """Removes what an earlier call wrote where no mask could be drawn now, and notes what this one has written.

    A mask that is not as it was written is someone else's: it stays, and its reason in ``failed`` says so.
    """
    written = read_json(folder / WRITTEN) or {}
    for stem in stems:
        path = label_path(folder, stem)
        if stem not in failed:
            written[stem] = sha256_of_file(path)
        elif path.is_file():
            if written.pop(stem, None) == sha256_of_file(path):
                path.unlink()
            else:
                failed[stem] += f'; {path} is there and stays'
    write_json(folder / WRITTEN, written)


def _write_mask(folder: Path, classes: tuple[str, ...], job: tuple[Annotation, str]) -> tuple[str, str]:
    annotation, path = job
    others = sorted({shape.kind for shape in annotation.shapes if not shape.is_area})
    if others or (annotation.names and not annotation.shapes):
        return annotation.stem, f'no mask: {", ".join(others) or "a name alone"} has no area'
    try:
        size = image_size(path)
    except UserError as error:
        return annotation.stem, str(error).removeprefix(f'{path}: ')
    if annotation.size not in (None, size):
        return annotation.stem, (f'no mask: {annotation.source.name} is for an image of {annotation.size[0]} x '
                                 f'{annotation.size[1]} (height x width), but it is {size[0]} x {size[1]}')
    shapes = [shape for shape in annotation.shapes if shape.name in classes or shape.name == '__ignore__']
    values = [classes.index(shape.name) + 1 if shape.name in classes else IGNORE for shape in shapes]
    areas = [shape.draw(*size) for shape in shapes]
    write_label(label_path(folder, annotation.stem), merge_masks(areas, values, *size))
    return annotation.stem, ''
