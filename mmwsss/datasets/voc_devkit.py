"""PASCAL VOC 2012 as it is distributed, with the masks of SBD, as a data set of one folder."""
import filecmp
import functools
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.datasets.layout import (
    CLASS_LIST,
    IMAGE_EXTENSIONS,
    VOC_IMAGES,
    VOC_MASKS,
    VOC_XML,
    find_files,
    find_split,
    load_classes,
    read_split,
)
from mmwsss.structures.image_file import image_size
from mmwsss.structures.label_file import label_path, read_label, write_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path, read_text, write_lines
from mmwsss.utils.parallel import default_num_workers, parallel_map, progress_bar

VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')
SPLITS = 'ImageSets/Segmentation'
TRAIN_AUG = 'train_aug'
# Where the list and the masks of SBD lie below what users unpack.
SBD_FOLDERS = ('', 'dataset', 'benchmark_RELEASE/dataset')


def voc_to_layout(voc_dir: str | os.PathLike, out_dir: str | os.PathLike, sbd_dir: str | os.PathLike | None = None,
                  copy: bool = False, num_workers: int | None = None) -> dict[str, Any]:
    """Writes VOC 2012 as one folder in VOC layout: ``classes.txt``, ``train_aug.txt``, SBD's masks beside VOC's.

    Images, annotations and VOC's masks are links. ``train_aug`` are the images of VOC's ``train`` and of SBD without
    those of VOC's ``val``, sorted: 10,582. Without SBD it is the list ``train_aug.txt`` or ``trainaug.txt`` that is
    there already, or none. Called again, it does the same again. Files that are in ``out_dir`` already are left as they
    are; links are made anew.

    Args:
        voc_dir: The folder ``VOC2012``, or ``VOCdevkit`` above it.
        out_dir: Folder of the data set.
        sbd_dir: The Semantic Boundaries Dataset, with ``cls/*.mat``, ``train.txt`` and ``val.txt``, in itself or in
            ``dataset`` or ``benchmark_RELEASE/dataset`` below. An image that has a mask of VOC keeps it.
        copy: Copy instead of linking.
        num_workers: Processes that read SBD's masks; 0: this one does, ``None``: one per CPU.

    Returns:
        A summary: ``splits``, {name: number of images}; ``num_masks``, and ``num_sbd``, how many of them are SBD's;
        ``skipped``, (path, reason) of images that a list names and that are not there, which the new lists leave
        out, and of masks that cannot be used.

    Raises:
        UserError: If a folder or list is missing or empty, ``out_dir`` lies in ``voc_dir`` or holds another file of a
            name, with other classes, images or pixels, or scipy, which reads SBD's masks, is not installed.
    """
    voc, root = _voc_root(Path(voc_dir)), Path(out_dir)
    if root.resolve() == voc.resolve() or root.resolve().is_relative_to(voc.resolve()):
        raise UserError(f'{root}: lies in the folder of VOC itself, whose files are only linked to; choose another '
                        '--out-dir')
    sbd = None if sbd_dir is None else _sbd_root(Path(sbd_dir))
    images = find_files(voc / VOC_IMAGES, IMAGE_EXTENSIONS)
    lists = {path.stem: read_split(voc, path.stem) for path in sorted((voc / SPLITS).glob('*.txt'))}
    for name in ('train', 'val'):
        if name not in lists:
            find_split(voc, name)  # says what is missing
    lists |= {TRAIN_AUG: augmented_split(lists['train'], lists['val'], sbd)} if sbd else {}
    skipped = [(str(voc / VOC_IMAGES / f'{stem}.jpg'), f'missing image of split {name}')
                 for name, stems in lists.items() for stem in stems if stem not in images]
    lists = {name: [stem for stem in stems if stem in images] for name, stems in lists.items()}
    if empty := [name for name, stems in lists.items() if not stems]:
        raise UserError(f'{voc / VOC_IMAGES}: has no image of split {empty[0]}; unpack VOC 2012 again')

    masks = find_files(voc / VOC_MASKS, ('.png',)) if (voc / VOC_MASKS).is_dir() else {}
    places = [(voc / folder, root / folder) for folder in (VOC_IMAGES, VOC_XML) if (voc / folder).is_dir()]
    places += [(Path(path), label_path(root / VOC_MASKS, stem)) for stem, path in masks.items()]
    for source, target in places:
        _check_place(source.resolve(), target, copy)
    _check_lists(root, lists)
    for folder in (VOC_MASKS, SPLITS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for source, target in places:
        _place(source.resolve(), target, copy)
    written, failed = (0, {})
    if sbd:
        wanted = [stem for stem in lists[TRAIN_AUG] if stem not in masks]
        written, failed = _write_masks(wanted, sbd, images, root / VOC_MASKS, num_workers)
    skipped += failed.items()
    for path, lines in [(root / SPLITS / f'{name}.txt', stems) for name, stems in lists.items()] + [
            (root / CLASS_LIST, VOC_CLASSES)]:
        if not path.exists():
            write_lines(path, lines)
    return dict(splits={name: len(stems) for name, stems in lists.items()}, num_masks=len(masks) + written,
                num_sbd=written, skipped=skipped)


def augmented_split(train: Iterable[str], val: Iterable[str], sbd: Path) -> list[str]:
    """Returns the images of VOC's train and of all of SBD that are not in VOC's val, sorted.

    Args:
        train: VOC's.
        val: VOC's.
        sbd: Folder with SBD's ``train.txt`` and ``val.txt``.

    Raises:
        UserError: If one of these is missing or empty.
    """
    both = {stem for name in ('train', 'val') for stem in read_split(sbd, f'{name}.txt', 'img')}
    return sorted((both | set(train)) - set(val))


def _voc_root(folder: Path) -> Path:
    for root in (folder, folder / 'VOC2012', folder / 'VOCdevkit/VOC2012'):
        if (root / VOC_IMAGES).is_dir():
            if not (root / SPLITS).is_dir():
                raise UserError(f'{root / SPLITS}: no such folder; VOC 2012 has its lists of images there')
            return root
    raise UserError(f'{folder}: has no folder {VOC_IMAGES}; name the folder VOC2012 of the unpacked VOCdevkit')


def _sbd_root(folder: Path) -> Path:
    for root in (folder / name for name in SBD_FOLDERS):
        if (root / 'cls').is_dir():
            if missing := [name for name in ('train.txt', 'val.txt') if not (root / name).is_file()]:
                raise UserError(f'{root / missing[0]}: no such file; SBD has its lists beside the folder cls')
            return root
    raise UserError(f'{folder}: has no folder cls with masks, in itself or in {" or ".join(SBD_FOLDERS[1:])}; name '
                    'the folder of the unpacked SBD (benchmark_RELEASE)')


def _check_lists(root: Path, lists: dict[str, Sequence[str]]) -> None:
    """Refuses to write over a list of classes or of images that says something else."""
    path = root / CLASS_LIST
    if path.exists() and load_classes(root) != VOC_CLASSES:
        raise UserError(f"{path}: is there already and names other classes than VOC's; choose another --out-dir")
    for name, stems in lists.items():
        path = root / SPLITS / f'{name}.txt'
        if path.exists() and read_text(path).splitlines() != list(stems):
            raise UserError(f'{path}: is there already and lists other images; remove it, or choose another --out-dir')


def _check_place(source: Path, target: Path, copy: bool) -> None:
    """Refuses what :func:`_place` would find in its way: what is there already must be the same one."""
    if target.is_symlink() or not target.exists():
        return
    if not copy:
        raise UserError(f'{target}: is there already and no link to {source}; choose another --out-dir, or give '
                        '--copy to keep copies')
    if source.is_dir() and target.is_dir():
        for path in source.iterdir():
            _check_place(path.resolve(), target / path.name, copy)
    # By content: pictures of another size in pixels can have as many bytes.
    elif source.is_dir() or not filecmp.cmp(source, target, shallow=False):
        raise UserError(f'{target}: is there already and another one than {source}; remove it, or choose another '
                        '--out-dir')


def _place(source: Path, target: Path, copy: bool) -> None:
    """Links or copies a file or a folder where :func:`_check_place` has found nothing in its way."""
    if target.is_symlink():
        if target.resolve() == source and not copy:
            return
        target.unlink()  # of another run: a copy is asked for, or VOC lies elsewhere now
    if not copy:
        target.symlink_to(source)
    elif source.is_dir():
        target.mkdir(exist_ok=True)
        for path in source.iterdir():
            _place(path.resolve(), target / path.name, copy)
    elif not target.exists():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _check_scipy() -> None:
    try:
        import scipy.io  # noqa: F401
    except ImportError as error:
        raise UserError("scipy is not installed, which reads SBD's masks; pip install scipy") from error


def read_sbd_mask(path: str | os.PathLike) -> np.ndarray:
    """Reads a mask of SBD, ``cls/<stem>.mat``.

    Returns:
        uint8 [H, W]: 0 background, k + 1 for class k. SBD has no 255.

    Raises:
        UserError: If it is damaged, or holds other numbers than those of VOC's 20 classes.
    """
    _check_scipy()
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError
    try:
        mask = np.asarray(loadmat(path, variable_names=['GTcls'])['GTcls'][0, 0]['Segmentation'])
    except (MatReadError, OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError,
            zlib.error) as error:
        raise UserError(f'{path}: is no mask of SBD ({type(error).__name__}: {error}); unpack it again') from error
    if mask.ndim != 2 or not mask.size or mask.max() > len(VOC_CLASSES):
        raise UserError(f'{path}: is no mask of SBD: has the shape {list(mask.shape)}'
                        + (f' and the number {mask.max()}' if mask.size else ''))
    return mask.astype(np.uint8)


def _write_masks(stems: list[str], sbd: Path, images: dict[str, str], folder: Path,
                 num_workers: int | None) -> tuple[int, dict[str, str]]:
    """Writes SBD's masks as PNG; returns how many there are and path -> reason for those that cannot be used."""
    _check_scipy()
    num_workers = default_num_workers() if num_workers is None else num_workers
    write = functools.partial(_write_mask, sbd / 'cls', folder)
    jobs = [(stem, images[stem]) for stem in stems]
    with progress_bar() as progress:
        results = list(progress.track(parallel_map(write, jobs, num_workers), len(jobs), description="SBD's masks"))
    failed = {path: reason for path, reason in results if reason}
    return len(results) - len(failed), failed


def _write_mask(mat_dir: Path, folder: Path, job: tuple[str, str]) -> tuple[str, str]:
    stem, image = job
    path = mat_dir / f'{stem}.mat'
    if not path.is_file():
        return str(path), 'missing mask'
    try:
        mask, size = read_sbd_mask(path), image_size(image)
    except UserError as error:
        return str(path), str(error).removeprefix(f'{path}: ')
    if mask.shape != size:
        return str(path), f'the mask is {mask.shape[0]} x {mask.shape[1]} instead of {size[0]} x {size[1]}'
    target = label_path(folder, stem)
    if target.is_symlink() or not target.exists():  # a link: to a mask of VOC, which lies elsewhere now
        write_label(target, mask)
    elif not np.array_equal(read_label(target), mask):
        raise UserError(f'{target}: is there already and another mask than that of {path}; remove it, or choose '
                        'another --out-dir')
    return str(path), ''
