"""Evaluating label maps, or CAMs at their best threshold, by kind of error, with a CRF, and image by image."""
import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.apis.evaluation import CAMJobs, LabelJobs, evaluated_classes, label_dir_classes
from mmwsss.datasets import DataFolder
from mmwsss.evaluation.breakdown import IMAGE_COLUMNS, breakdown, image_row
from mmwsss.evaluation.label_metrics import confusion_matrix, load_mask
from mmwsss.evaluation.threshold_curve import label_from_cam
from mmwsss.postprocessing import build_postprocessors, pseudo_label
from mmwsss.structures.cam_file import read_manifest
from mmwsss.structures.image_file import read_image
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes
from mmwsss.utils.parallel import check_num_workers, parallel_map, progress_bar

# A constant background is below 1; a curve can be best at 1, where nothing is foreground.
HIGHEST = 0.9999


def add_details(report: Mapping[str, Any], folder: str | os.PathLike, data: DataFolder | str | os.PathLike,
                split: str | None, postprocessors: Sequence[Mapping] = (), per_image: str | os.PathLike | None = None,
                num_workers: int | None = None) -> dict[str, Any]:
    """Adds to a report what its means do not tell; label maps of CAMs are those at its best threshold.

    Args:
        report: Of :func:`mmwsss.apis.evaluation.evaluate` for the same folder, data and split.
        folder: Folder of CAM files or label files.
        data: The data set, or its root.
        split: Name of the split, or ``None`` for all images.
        postprocessors: Configs of POSTPROCESSORS, such as the CRF of a table "with CRF". They are applied to the CAMs
            with the best threshold as constant background; the threshold is not chosen again.
        per_image: csv file for the figures of every image, see :func:`mmwsss.evaluation.breakdown.image_row`, before
            post-processing; with post-processors, those after them are in a second file beside it, ``<stem>_refined``
            with the same suffix. Missing folders are created.
        num_workers: Processes; 0: this one. Default: one per CPU.

    Returns:
        The report with ``details``, see :func:`mmwsss.evaluation.breakdown.breakdown`, and with post-processors
        ``refined``, the same after them.

    Raises:
        UserError: If post-processors are given for label files, or an image is missing that they need.
    """
    data, folder = DataFolder.find(data), Path(folder)
    postprocessors = list(postprocessors)
    build_postprocessors(postprocessors)
    is_cam = report['threshold'] is not None
    if postprocessors and not is_cam:
        raise UserError(f'{folder}: holds label maps, which have no scores for {postprocessors[0]["type"]}; name a '
                        'folder of CAM files')
    made_for = read_manifest(folder).classes if is_cam else label_dir_classes(folder)
    names = evaluated_classes(folder, data, made_for)
    reader = CAMJobs(folder, data, len(names), ()) if is_cam else LabelJobs(folder, data, len(names))
    jobs = _Details(reader, report['threshold'], postprocessors, data.image_paths() if postprocessors else {})
    stems = [stem for stem in data.stems(split) if stem in reader.masks]
    plain, refined = {}, {}
    with progress_bar() as progress:
        results = parallel_map(jobs, stems, check_num_workers(num_workers))
        for stem, result in zip(stems, progress.track(results, len(stems), description='details')):
            if result is None:
                continue
            plain[stem], after = result
            if after is not None:
                refined[stem] = after
    added = dict(details=breakdown(plain, names))
    if postprocessors:
        added['refined'] = dict(breakdown(refined, names), postprocessors=postprocessors)
    if per_image is not None:
        _write_table(per_image, plain)
        if postprocessors:
            path = Path(per_image)
            _write_table(path.with_stem(f'{path.stem}_refined'), refined)
    return dict(report, **added)


class _Details:
    """Returns the confusion matrices of an image, before and after post-processing; what a worker does.

    ``None`` for an image that the evaluation left out: without file, or with a mask that does not fit.
    """

    def __init__(self, reader: CAMJobs | LabelJobs, threshold: float | None, postprocessors: Sequence[Mapping],
                 images: Mapping[str, str]) -> None:
        self.reader, self.threshold, self.images = reader, threshold, images
        self.postprocessors = postprocessors

    def __call__(self, stem: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        reader = self.reader
        path = reader.path_of(reader.folder, stem)
        if not path.exists():
            return None
        content, size = reader.read(path)
        try:
            mask = load_mask(reader.masks[stem], size, reader.num_classes, reader.mask_values)
        except UserError:
            return None  # the report says why
        label = content
        if self.threshold is not None:
            label = label_from_cam(resize_cam(content.cam, size), content.classes, self.threshold)
        before = confusion_matrix(label, mask, reader.num_classes)
        if not self.postprocessors:
            return before, None
        if stem not in self.images:
            raise UserError(f'{stem}: has a CAM and a mask, but no image, which {self.postprocessors[0]["type"]} needs')
        background = dict(type='constant', threshold=min(self.threshold, HIGHEST))
        label = pseudo_label(content, read_image(self.images[stem]), background,
                             build_postprocessors(self.postprocessors))
        return before, confusion_matrix(label, mask, reader.num_classes)


def _write_table(path: str | os.PathLike, confusions: Mapping[str, np.ndarray]) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, IMAGE_COLUMNS, lineterminator='\n')
    writer.writeheader()
    for stem, confusion in confusions.items():
        writer.writerow({name: '' if value is None else f'{value:.6g}' if isinstance(value, float) else value
                         for name, value in image_row(stem, confusion).items()})
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue().encode())
