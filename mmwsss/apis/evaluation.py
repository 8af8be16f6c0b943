"""Evaluating folders of CAM files or label files by ground truth masks."""
import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmwsss.datasets import DataFolder
from mmwsss.datasets.layout import describe_split
from mmwsss.datasets.mask_checks import check_not_binary, class_names, report_disagreement
from mmwsss.evaluation.evaluation_report import cam_report, label_report
from mmwsss.evaluation.label_metrics import confusion_matrix, load_mask
from mmwsss.evaluation.threshold_curve import DEFAULT_THRESHOLDS, CAMHistogram, cam_histogram, check_thresholds
from mmwsss.structures.cam_file import cam_path, read_cam, read_manifest
from mmwsss.structures.image_file import check_image
from mmwsss.structures.label_file import label_path, read_label
from mmwsss.structures.maps import resize_cam
from mmwsss.structures.settings_folder import MANIFEST_NAME
from mmwsss.utils.errors import UserError, check_missing
from mmwsss.utils.fileio import read_json
from mmwsss.utils.parallel import check_num_workers, parallel_map, progress_bar

# Images counted by a worker before it reports: the histogram of one image takes as long to send as to count.
CHUNK = 16


def evaluate_cam_dir(cam_dir: str | os.PathLike, data: DataFolder | str | os.PathLike, split: str | None,
                     thresholds: Sequence[float] | None = None, num_workers: int | None = None,
                     missing: str = 'error') -> dict[str, Any]:
    """Evaluates the CAM files of a split at every threshold.

    Args:
        cam_dir: Folder of the CAM files, with its manifest.
        data: The data set, or its root. Its classes must be those of the manifest, or it has no class list.
        split: Name of the split, or ``None`` for all images; every readable image of it must have its CAM file.
        thresholds: Increasing; default 0, 0.01, ..., 1.
        num_workers: Worker processes; 0: none. Default: one per CPU. The result does not depend on it.
        missing: ``'skip'`` leaves out an image whose CAM file is missing.

    Returns:
        The report of :func:`mmwsss.evaluation.cam_report`, and ``skipped``: [(file, reason)] for the images that
        were skipped: without a readable image or mask, or with a mask of another size or with an unknown label.
        ``class_filter`` is that of the manifest's ``extra``. ``masks_unlike_labels`` is the share of the images whose
        masks show other classes than their image-level labels, if it is above 0.

    Raises:
        UserError: If a CAM file is missing or damaged, the classes differ, or no image can be evaluated; or if the
            masks hold nothing but 0 and 255 and ``data`` has no ``mask_values``.
    """
    try:
        thresholds = tuple(DEFAULT_THRESHOLDS if thresholds is None else thresholds)
        check_thresholds(thresholds)
    except ValueError as error:
        raise UserError(str(error)) from error
    data, manifest = DataFolder.find(data), read_manifest(cam_dir)
    names = evaluated_classes(cam_dir, data, manifest.classes)
    jobs = CAMJobs(Path(cam_dir), data, len(names), thresholds)
    result = _run(jobs, data, split, missing, num_workers)
    report = cam_report(result.counts, thresholds, names, result.num_images, skipped=result.skipped,
                        class_filter=manifest.extra.get('class_filter'))
    return _compared(report, data, names, result.numbers)


def evaluate_label_dir(label_dir: str | os.PathLike, data: DataFolder | str | os.PathLike, split: str | None,
                       num_workers: int | None = None, missing: str = 'error') -> dict[str, Any]:
    """Evaluates the label files of a split: pseudo labels, or predictions of a segmentor.

    Args:
        label_dir: Folder of ``<stem>.png``. If there is a manifest with ``classes``, they must be the data set's.
        data: See :func:`evaluate_cam_dir`, as for the other arguments.
        split: Name of the split, or ``None`` for all images.
        num_workers: Worker processes.
        missing: ``'skip'`` leaves out an image whose label file is missing.

    Returns:
        The report of :func:`mmwsss.evaluation.label_report`, and ``skipped``.

    Raises:
        UserError: If a label file is missing, damaged or has an unknown label, the classes differ, or no image can
            be evaluated.
    """
    data = DataFolder.find(data)
    names = evaluated_classes(label_dir, data, label_dir_classes(label_dir))
    jobs = LabelJobs(Path(label_dir), data, len(names))
    result = _run(jobs, data, split, missing, num_workers)
    report = label_report(result.counts, names, result.num_images, skipped=result.skipped)
    return _compared(report, data, names, result.numbers)


def label_confusion(label_dir: str | os.PathLike, data: DataFolder | str | os.PathLike, split: str | None,
                    num_workers: int | None = None, missing: str = 'error') -> tuple[np.ndarray, tuple[str, ...]]:
    """Counts the pixels of the label files of a split by ground truth and prediction.

    Args:
        label_dir: See :func:`evaluate_label_dir`, as for the other arguments and errors.
        data: See there.
        split: See there.
        num_workers: See there.
        missing: See there.

    Returns:
        int64 [C + 1, C + 2]: rows are the ground truth, columns the prediction, the last one without prediction; and
        the names of the rows, the background first.
    """
    data = DataFolder.find(data)
    stems = data.stems(split)
    if (any(cam_path(label_dir, stem).is_file() for stem in stems)
            and not any(label_path(label_dir, stem).is_file() for stem in stems)):
        raise UserError(f'{label_dir}: holds CAM files and no label maps; make these with mmwsss label')
    names = evaluated_classes(label_dir, data, label_dir_classes(label_dir))
    counts = _run(LabelJobs(Path(label_dir), data, len(names)), data, split, missing, num_workers).counts
    return counts, ('background', *names)


def evaluate(folder: str | os.PathLike, data: DataFolder | str | os.PathLike, split: str | None,
             **options: Any) -> dict[str, Any]:
    """Evaluates a folder of CAM files or of label files, whichever it holds for the split.

    Args:
        folder: The folder.
        data: The data set, or its root.
        split: Name of the split, or ``None`` for all images.
        options: Others of :func:`evaluate_cam_dir` or :func:`evaluate_label_dir`.

    Raises:
        UserError: If it holds neither kind or both; and as the two functions do.
    """
    data = DataFolder.find(data)
    stems = data.stems(split)
    found = [function for function, path in ((evaluate_cam_dir, cam_path), (evaluate_label_dir, label_path))
             if any(path(folder, stem).exists() for stem in stems)]
    if len(found) != 1:
        what = 'both CAM files (.npz) and labels (.png)' if found else 'neither CAM files (.npz) nor labels (.png)'
        raise UserError(f'{folder}: has {what} for {describe_split(split)}; name a folder with one kind')
    return found[0](folder, data, split, **options)


def label_dir_classes(label_dir: str | os.PathLike) -> tuple[str, ...] | None:
    """Returns the class names that the manifest of a label folder tells, if there is one."""
    path = Path(label_dir, MANIFEST_NAME)
    try:
        manifest = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path}: cannot be read ({error}); delete it') from error
    names = manifest.get('classes') if isinstance(manifest, dict) else None
    return tuple(names) if isinstance(names, list) else None


def evaluated_classes(folder: str | os.PathLike, data: DataFolder, made_for: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names of the classes, those of the manifest where the data has none, as VOC itself."""
    names = data.classes if made_for is None or data.has_classes else tuple(made_for)
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
        skipped: (file, reason) of images that were not.
        numbers: Image -> the numbers in its mask.
    """
    counts: CAMHistogram | np.ndarray
    num_images: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)


class _Jobs:
    """Counts images, a few at a time; what a worker does."""
    path_of: Callable[[Path, str], Path]

    def __init__(self, folder: Path, data: DataFolder, num_classes: int) -> None:
        self.folder = folder
        self.mask_dir = data.masks_path
        self.masks = data.mask_paths()
        self.mask_values = data.mask_values
        self.num_classes = num_classes

    def __call__(self, stems: Sequence[str]) -> _Outcome:
        outcome = _Outcome(self.zeros())
        for stem in stems:
            mask_path = self.masks.get(stem)
            if mask_path is None:
                mask_path = label_path(self.mask_dir, stem)
                outcome.skipped.append((str(mask_path), 'no such mask'))
                continue
            prediction, size = self.read(self.path_of(self.folder, stem))
            try:
                mask = load_mask(mask_path, size, self.num_classes, self.mask_values)
            except UserError as error:
                outcome.skipped.append((str(mask_path), str(error).removeprefix(f'{mask_path}: ')))
                continue
            try:
                outcome.counts += self.count(prediction, mask)
            except ValueError as error:
                raise UserError(f'{self.path_of(self.folder, stem)}: {error}; make it again') from error
            outcome.num_images += 1
            outcome.numbers[stem] = np.flatnonzero(np.bincount(mask.ravel())).tolist()
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


class CAMJobs(_Jobs):
    """Counts CAM files at every threshold."""
    path_of = staticmethod(cam_path)

    def __init__(self, folder: Path, data: DataFolder, num_classes: int, thresholds: Sequence[float]) -> None:
        super().__init__(folder, data, num_classes)
        self.thresholds = thresholds

    def zeros(self) -> CAMHistogram:
        """Returns counts of nothing."""
        return CAMHistogram.zeros(self.num_classes, len(self.thresholds))

    def read(self, path: Path) -> tuple[Any, tuple[int, int]]:
        """Returns the content of a file and the size (H, W) of its image."""
        cam_file = read_cam(path)
        return cam_file, cam_file.size

    def count(self, prediction: Any, mask: np.ndarray) -> CAMHistogram:
        """Returns the counts of one image."""
        cam = resize_cam(prediction.cam, prediction.size)
        return cam_histogram(cam, prediction.classes, mask, self.thresholds, self.num_classes)


class LabelJobs(_Jobs):
    """Counts label files."""
    path_of = staticmethod(label_path)

    def zeros(self) -> np.ndarray:
        """Returns counts of nothing."""
        return np.zeros((self.num_classes + 1, self.num_classes + 2), np.int64)

    def read(self, path: Path) -> tuple[Any, tuple[int, int]]:
        """Returns the content of a file and the size (H, W) of its image."""
        label = read_label(path)
        return label, label.shape

    def count(self, prediction: Any, mask: np.ndarray) -> np.ndarray:
        """Returns the counts of one image."""
        return confusion_matrix(prediction, mask, self.num_classes)


def _run(jobs: _Jobs, data: DataFolder, split: str | None, missing: str, num_workers: int | None) -> _Outcome:
    """Counts all images of the split."""
    check_missing('missing', missing)
    stems = data.stems(split)
    num_workers = check_num_workers(num_workers)
    if not any(stem in jobs.masks for stem in stems):
        raise UserError(f'{jobs.mask_dir}: has no ground truth mask of {describe_split(split)}, so nothing can '
                        'be evaluated')
    absent = _check_missing(jobs, stems, data, skip=missing == 'skip')
    todo = [stem for stem in stems if stem not in absent]
    chunks = [todo[i:i + CHUNK] for i in range(0, len(todo), CHUNK)]
    total = _Outcome(jobs.zeros(), skipped=list(absent.values()))
    with progress_bar() as progress:
        task = progress.add_task('evaluating', total=len(todo))
        for outcome in parallel_map(jobs, chunks, min(num_workers, len(chunks))):
            total.counts += outcome.counts
            total.num_images += outcome.num_images
            total.skipped += outcome.skipped
            total.numbers |= outcome.numbers
            progress.update(task, completed=total.num_images + len(total.skipped) - len(absent),
                            refresh=True)
    if total.num_images == 0:
        path, reason = total.skipped[0]
        raise UserError(f'{path}: {reason} (and none of the {len(stems)} images can be evaluated)')
    check_not_binary({jobs.masks[stem]: numbers for stem, numbers in total.numbers.items()})
    return total


def _compared(report: dict[str, Any], data: DataFolder, names: Sequence[str],
              numbers: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Adds to a report the share of the masks that do not show what the image-level labels say, if there are any."""
    if report['mIoU'] is None:
        raise UserError(f'{data.masks_path}: every pixel of the masks is 255 (ignore), so nothing can be evaluated')
    try:
        labels = data.image_labels(list(numbers))
    except UserError as error:  # the labels are not what is evaluated
        print_log(f'the masks were not compared with the image-level labels: {error}', 'current',
                  level=logging.WARNING)
        return report
    share = report_disagreement({stem: class_names(found, names) for stem, found in numbers.items()}, labels,
                                data.masks_path)
    return dict(report, masks_unlike_labels=share) if share else report


def _check_missing(jobs: _Jobs, stems: Sequence[str], data: DataFolder, skip: bool) -> dict[str, tuple[str, str]]:
    """Returns stem -> (file, reason) for the images to skip: those that rightly have no file to evaluate.

    Args:
        jobs: Knows the files.
        stems: Of the split.
        data: Knows the images. The stages before leave an unreadable one out.
        skip: Whether to skip any image without a file.

    Raises:
        UserError: If another file is missing.
    """
    missing = {stem: path for stem in stems if not (path := jobs.path_of(jobs.folder, stem)).exists()}
    if skip:
        return {stem: (str(path), 'no such file') for stem, path in missing.items()}
    images, img_dir = data.image_paths() if missing else {}, data.images_path
    skipped = {}
    for stem, path in missing.items():
        image = images.get(stem)
        reason = check_image(image).reason if image else 'no such image'
        if img_dir.is_dir() and reason:
            skipped[stem] = (image or str(img_dir / stem), reason)
        else:
            raise UserError(f'{path}: no such file; {len(missing)} of the {len(stems)} images of the split have none. '
                            'Finish the stage that makes them: it goes on where it stopped. Images that it was not '
                            "to make are left out with missing='skip' (--missing skip)")
    return skipped
