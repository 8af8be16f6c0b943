"""Judging folders of CAM files or label files by ground truth masks."""
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from mmwsss.datasets import load_classes, read_split
from mmwsss.datasets.layout import IMAGE_EXTENSIONS, MAP_EXTENSIONS, describe_split, find_files_anywhere
from mmwsss.evaluation.evaluation_report import cam_report, label_report
from mmwsss.evaluation.label_metrics import confusion_matrix, load_mask
from mmwsss.evaluation.threshold_curve import DEFAULT_THRESHOLDS, CAMHistogram, cam_histogram, check_thresholds
from mmwsss.structures.cam_file import MANIFEST_NAME, cam_path, read_cam, read_manifest
from mmwsss.structures.image_file import check_image
from mmwsss.structures.label_file import label_path, read_label
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json
from mmwsss.utils.parallel import default_num_workers, limit_threads, progress_bar

# Images counted by a worker before it reports: the histogram of one image takes as long to send as to count.
CHUNK = 16


def has_masks(data_root: str | os.PathLike, split: str | None, seg_dir: str = 'SegmentationClass',
              img_dir: str = 'JPEGImages') -> bool:
    """Returns whether any image of the split (``None``: of all images) has a ground truth mask."""
    masks = find_files_anywhere(Path(data_root, seg_dir), MAP_EXTENSIONS)
    return any(stem in masks for stem in read_split(data_root, split, img_dir))


def evaluate_cam_dir(cam_dir: str | os.PathLike, data_root: str | os.PathLike, split: str | None,
                     classes: Sequence[str] | None = None, thresholds: Sequence[float] | None = None,
                     num_workers: int | None = None, seg_dir: str = 'SegmentationClass',
                     missing: str = 'error', img_dir: str = 'JPEGImages') -> dict[str, Any]:
    """Judges the CAM files of a split at every threshold.

    Args:
        cam_dir: Folder of the CAM files, with its manifest.
        data_root: Folder of the data set.
        split: Name of the split, or ``None`` for all images; every readable image of it must have its CAM file.
        classes: Names of the C foreground classes; default ``classes.txt`` of the data set, or, without one, the
            manifest's. They must be the manifest's.
        thresholds: Increasing; default 0, 0.01, ..., 1.
        num_workers: Processes that read and count; 0: this one. Default: one per CPU. The result is the same.
        seg_dir: Folder of the masks, below ``data_root`` or absolute.
        missing: ``'skip'`` makes a missing CAM file an omission.
        img_dir: Folder of the images, likewise. Sub folders of both are searched.

    Returns:
        The report of :func:`mmwsss.evaluation.cam_report`, and ``omissions``: [(file, reason)] for the images that
        were left out: without a readable image, without mask, or with a mask that is unreadable, of another
        size, or has an unknown label. ``cam_gate`` as the manifest's ``extra`` has it.

    Raises:
        UserError: If a CAM file is missing or damaged, the classes differ, or no image can be judged.
    """
    try:
        thresholds = tuple(DEFAULT_THRESHOLDS if thresholds is None else thresholds)
        check_thresholds(thresholds)
    except ValueError as error:
        raise UserError(str(error)) from error
    manifest = read_manifest(cam_dir)
    if classes is None and not Path(data_root, 'classes.txt').exists():
        classes = manifest.classes
    names = _load_classes(cam_dir, data_root, classes, manifest.classes)
    jobs = _CAMJobs(Path(cam_dir), Path(data_root, seg_dir), len(names), thresholds)
    result = _run(jobs, data_root, split, missing, num_workers, img_dir)
    report = cam_report(result.counts, thresholds, names, result.num_images, omissions=result.omissions,
                        cam_gate=manifest.extra.get('cam_gate'))
    return _checked(report, jobs.mask_dir)


def evaluate_label_dir(label_dir: str | os.PathLike, data_root: str | os.PathLike, split: str | None,
                       classes: Sequence[str] | None = None, num_workers: int | None = None,
                       seg_dir: str = 'SegmentationClass', missing: str = 'error',
                       img_dir: str = 'JPEGImages') -> dict[str, Any]:
    """Judges the label files of a split: pseudo labels, or predictions of a segmentor.

    Args:
        label_dir: Folder of ``<stem>.png``. If there is a manifest with ``classes``, they must be the data set's.
        data_root: See :func:`evaluate_cam_dir`, as for the other arguments.
        split: Name of the split, or ``None`` for all images.
        classes: Names of the C foreground classes; default ``classes.txt`` of the data set, or, without one, the
            manifest's.
        num_workers: Processes that read and count.
        seg_dir: Folder of the masks.
        missing: ``'skip'`` makes a missing label file an omission.
        img_dir: Folder of the images.

    Returns:
        The report of :func:`mmwsss.evaluation.label_report`, and ``omissions``.

    Raises:
        UserError: If a label file is missing, damaged or has an unknown label, the classes differ, or no image can
            be judged.
    """
    made_for = _label_classes(label_dir)
    if classes is None and not Path(data_root, 'classes.txt').exists():
        classes = made_for
    names = _load_classes(label_dir, data_root, classes, made_for)
    jobs = _LabelJobs(Path(label_dir), Path(data_root, seg_dir), len(names))
    result = _run(jobs, data_root, split, missing, num_workers, img_dir)
    return _checked(label_report(result.counts, names, result.num_images, omissions=result.omissions), jobs.mask_dir)


def _checked(report: dict[str, Any], mask_dir: Path) -> dict[str, Any]:
    if report['mIoU'] is None:
        raise UserError(f'{mask_dir}: every pixel of the masks is 255 (ignore), so nothing can be judged')
    return report


def evaluate_dir(folder: str | os.PathLike, data_root: str | os.PathLike, split: str | None,
                 img_dir: str = 'JPEGImages', **options: Any) -> dict[str, Any]:
    """Judges a folder of CAM files or of label files, whichever it holds for the split.

    Args:
        folder: The folder.
        data_root: Folder of the data set.
        split: Name of the split, or ``None`` for all images.
        img_dir: Folder of the images.
        options: Others of :func:`evaluate_cam_dir` or :func:`evaluate_label_dir`.

    Raises:
        UserError: If it holds neither kind or both; and as the two functions do.
    """
    stems = read_split(data_root, split, img_dir)
    found = [evaluate for evaluate, path in ((evaluate_cam_dir, cam_path), (evaluate_label_dir, label_path))
             if any(path(folder, stem).exists() for stem in stems)]
    if len(found) != 1:
        what = 'both CAM files (.npz) and labels (.png)' if found else 'neither CAM files (.npz) nor labels (.png)'
        raise UserError(f'{folder}: has {what} for {describe_split(split)}; name a folder with one kind')
    return found[0](folder, data_root, split, img_dir=img_dir, **options)


def _label_classes(label_dir: str | os.PathLike) -> tuple[str, ...] | None:
    """Returns the class names that the manifest of a label folder tells, if there is one."""
    path = Path(label_dir, MANIFEST_NAME)
    try:
        manifest = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path}: cannot be read ({error}); delete it') from error
    names = manifest.get('classes') if isinstance(manifest, dict) else None
    return tuple(names) if isinstance(names, list) else None


def _load_classes(folder: str | os.PathLike, data_root: str | os.PathLike, classes: Sequence[str] | None,
                  made_for: Sequence[str] | None) -> tuple[str, ...]:
    names = load_classes(data_root, classes)
    if made_for is not None and tuple(made_for) != names:
        raise UserError(f'{Path(folder, MANIFEST_NAME)}: the files there are of the classes {tuple(made_for)}, but the '
                        f'data has {names}; give the right --data-root or --classes')
    return names


@dataclass
class _Outcome:
    """What a number of images add up to.

    Attributes:
        counts: CAMHistogram or confusion matrix.
        num_images: Images counted.
        omissions: (file, reason) of images that were not.
        error: Message of the first user error; the rest was not done.
    """
    counts: CAMHistogram | np.ndarray
    num_images: int = 0
    omissions: list[tuple[str, str]] = field(default_factory=list)
    error: str | None = None


class _Jobs(Dataset):
    """Item i counts the i-th chunk of the stems; a DataLoader spreads the items over processes.

    A DataLoader's workers end when their parent is killed, which those of a plain process pool do not.
    """
    path_of: Callable[[Path, str], Path]

    def __init__(self, folder: Path, mask_dir: Path, num_classes: int) -> None:
        self.folder = folder
        self.mask_dir = mask_dir
        self.masks = find_files_anywhere(mask_dir, MAP_EXTENSIONS)
        self.num_classes = num_classes
        self.stems: list[str] = []

    def __len__(self) -> int:
        return -(-len(self.stems) // CHUNK)

    def __getitem__(self, index: int) -> _Outcome:
        outcome = _Outcome(self.zeros())
        for stem in self.stems[index * CHUNK:(index + 1) * CHUNK]:
            mask_path = self.masks.get(stem)
            if mask_path is None:
                mask_path = label_path(self.mask_dir, stem)
                outcome.omissions.append((str(mask_path), 'no such mask'))
                continue
            # As a value: an exception would arrive from a worker with its whole traceback as the message.
            try:
                prediction, size = self.read(self.path_of(self.folder, stem))
            except UserError as error:
                outcome.error = str(error)
                break
            try:
                mask = load_mask(mask_path, size, self.num_classes)
            except UserError as error:
                outcome.omissions.append((str(mask_path), str(error).removeprefix(f'{mask_path}: ')))
                continue
            try:
                outcome.counts += self.count(prediction, mask)
            except ValueError as error:
                outcome.error = f'{self.path_of(self.folder, stem)}: {error}; make it again'
                break
            outcome.num_images += 1
        return outcome

    @abstractmethod
    def zeros(self) -> CAMHistogram | np.ndarray:
        """Returns counts of nothing."""

    @abstractmethod
    def read(self, path: Path) -> tuple[Any, tuple[int, int]]:
        """Returns the content of a prediction's file and the size (H, W) of its image."""

    @abstractmethod
    def count(self, prediction: Any, mask: np.ndarray) -> CAMHistogram | np.ndarray:
        """Returns the counts of one image."""


class _CAMJobs(_Jobs):
    path_of = staticmethod(cam_path)

    def __init__(self, folder: Path, mask_dir: Path, num_classes: int, thresholds: Sequence[float]) -> None:
        super().__init__(folder, mask_dir, num_classes)
        self.thresholds = thresholds

    def zeros(self) -> CAMHistogram:
        return CAMHistogram.zeros(self.num_classes, len(self.thresholds))

    def read(self, path: Path) -> tuple[Any, tuple[int, int]]:
        cam_file = read_cam(path)
        return cam_file, cam_file.size

    def count(self, prediction: Any, mask: np.ndarray) -> CAMHistogram:
        cam = resize_cam(prediction.cam, prediction.size)
        return cam_histogram(cam, prediction.classes, mask, self.thresholds, self.num_classes)


class _LabelJobs(_Jobs):
    path_of = staticmethod(label_path)

    def zeros(self) -> np.ndarray:
        return np.zeros((self.num_classes + 1, self.num_classes + 2), np.int64)

    def read(self, path: Path) -> tuple[Any, tuple[int, int]]:
        label = read_label(path)
        return label, label.shape

    def count(self, prediction: Any, mask: np.ndarray) -> np.ndarray:
        return confusion_matrix(prediction, mask, self.num_classes)


def _run(jobs: _Jobs, data_root: str | os.PathLike, split: str | None, missing: str, num_workers: int | None,
         img_dir: str) -> _Outcome:
    """Counts all images of the split."""
    if missing not in ('error', 'skip'):
        raise UserError(f"missing must be 'error' or 'skip', got {missing!r}")
    stems = read_split(data_root, split, img_dir)
    num_workers = default_num_workers() if num_workers is None else num_workers
    if num_workers < 0:
        raise UserError(f'num_workers must be at least 0, got {num_workers}')
    if not any(stem in jobs.masks for stem in stems):
        raise UserError(f'{jobs.mask_dir}: has no ground truth mask of {describe_split(split)}, so nothing can '
                        'be judged')
    absent = _check_missing(jobs, stems, Path(data_root, img_dir), skip=missing == 'skip')
    jobs.stems = [stem for stem in stems if stem not in absent]
    total = _Outcome(jobs.zeros(), omissions=list(absent.values()))
    loader = DataLoader(jobs, batch_size=None, num_workers=min(num_workers, len(jobs)), worker_init_fn=limit_threads)
    with progress_bar() as progress:
        task = progress.add_task('evaluating', total=len(jobs.stems))
        for outcome in loader:
            if outcome.error is not None:
                raise UserError(outcome.error)
            total.counts += outcome.counts
            total.num_images += outcome.num_images
            total.omissions += outcome.omissions
            progress.update(task, completed=total.num_images + len(total.omissions) - len(absent),
                            refresh=True)
    if total.num_images == 0:
        path, reason = total.omissions[0]
        raise UserError(f'{path}: {reason} (and none of the {len(stems)} images can be judged)')
    return total


def _check_missing(jobs: _Jobs, stems: Sequence[str], img_dir: Path, skip: bool) -> dict[str, tuple[str, str]]:
    """Returns stem -> omission for the images that have no file to judge, and rightly so.

    Args:
        jobs: Knows the files.
        stems: Of the split.
        img_dir: Folder of the images. The stages before leave an unreadable image out.
        skip: Any missing file is an omission.

    Raises:
        UserError: If another file is missing.
    """
    missing = {stem: path for stem in stems if not (path := jobs.path_of(jobs.folder, stem)).exists()}
    if skip:
        return {stem: (str(path), 'no such file') for stem, path in missing.items()}
    images = find_files_anywhere(img_dir, IMAGE_EXTENSIONS) if missing else {}
    omissions = {}
    for stem, path in missing.items():
        image = images.get(stem)
        reason = check_image(image).reason if image else 'no such image'
        if img_dir.is_dir() and reason:
            omissions[stem] = (image or str(img_dir / stem), reason)
        else:
            raise UserError(f'{path}: no such file; {len(missing)} of the {len(stems)} images of the split have none. '
                            'Finish the stage that makes them: it goes on where it stopped. Images that it was not '
                            "to make are left out with missing='skip' (--missing skip)")
    return omissions
