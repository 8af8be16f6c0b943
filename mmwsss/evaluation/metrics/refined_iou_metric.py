"""IoU of a segmentor's predictions after post-processing, such as the final CRF."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, is_main_process
from mmengine.evaluator import BaseMetric
from rich.table import Table

from mmwsss.datasets.layout import stem_of
from mmwsss.evaluation.evaluation_report import label_report, log_table, report_table, write_report
from mmwsss.evaluation.label_metrics import confusion_matrix, load_mask
from mmwsss.postprocessing import Postprocessor, build_postprocessors
from mmwsss.registry import METRICS
from mmwsss.structures.image_file import read_image
from mmwsss.structures.label_file import label_path, write_label
from mmwsss.structures.score_map import ScoreMap
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import remove_leftovers
from mmwsss.utils.parallel import OrderedPool, check_num_workers, workers_per_rank


def refine_label(probabilities: np.ndarray, image: np.ndarray, postprocessors: Sequence[Postprocessor]) -> np.ndarray:
    """Makes the label map of one image.

    Args:
        probabilities: float32 [C + 1, H, W], of the background and all C classes.
        image: uint8 [H, W, 3], RGB.
        postprocessors: Applied in this order.

    Returns:
        uint8 [H, W]: 0 background, k + 1 for class k.
    """
    score_map = ScoreMap(probabilities, np.arange(len(probabilities) - 1))
    for postprocessor in postprocessors:
        score_map = postprocessor(score_map, image)
    return score_map.to_label()


def is_repeated(last: Sequence[str], others: Sequence[Sequence[str]], rank: int) -> bool:
    """Returns whether the last image of a rank is one that a sampler repeats to give every rank as many.

    Args:
        last: The last image of each rank, ``''`` where a rank has none.
        others: The images before it, of each rank.
        rank: The rank.
    """
    image = last[rank]
    return image != '' and (image in last[:rank] or any(image in images for images in others))


@METRICS.register_module()
class RefinedIoUMetric(BaseMetric):
    """Post-processes the probabilities of a segmentor, and evaluates (and writes) the label maps that come out.

    ``softmax(seg_logits)`` of the background and all classes goes through the post-processors together with the image,
    in worker processes, while the model goes on with the next images. All classes take part in a CRF, as in the code
    that DeepLabV2 and SEAM are retrained with; with many, take ``DenseCRF(labels='leading')``.

    Pixels are counted in an integer confusion matrix that is summed over the ranks: the result is the same for any
    number of ranks and workers.

    Args:
        postprocessors: Configs of POSTPROCESSORS, applied in this order; at least one.
        out_dir: Folder for the label maps, ``<stem>.png``, 8-bit palette PNGs.
        with_iou: Evaluate by the masks; ``False`` only writes, for images without.
        num_workers: Worker processes of each rank; 0: none. ``None``: the CPUs, shared by the ranks.
        out_file: Json file for the report in fractions, see :func:`mmwsss.evaluation.label_report`; written by the main
            process.
        prefix: Put before the names of the metrics, with a slash; default ``'refined'``, to stand beside IoUMetric.

    Attributes:
        table: The last report for people, on the main process.

    Raises:
        UserError: If there is no post-processor or one cannot be built; if there is nothing to do, or an ``out_file``
            without a report; if ``num_workers`` is not a whole number of 0 or more.

    Examples:
        >>> test_evaluator = [dict(type='IoUMetric'), dict(type='RefinedIoUMetric', postprocessors=[
        ...     dict(type='DenseCRF', gaussian_sxy=1, bilateral_sxy=67, bilateral_srgb=3, bilateral_compat=4)])]
    """

    default_prefix = 'refined'

    def __init__(self, postprocessors: Sequence[dict], out_dir: str | None = None, with_iou: bool = True,
                 num_workers: int | None = None, out_file: str | None = None, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.postprocessors = build_postprocessors(postprocessors)
        if not self.postprocessors:
            raise UserError('RefinedIoUMetric: postprocessors is empty; name one, such as dict(type=DenseCRF)')
        if not with_iou and out_dir is None:
            raise UserError('RefinedIoUMetric: nothing to do; name an out_dir, or set with_iou=True')
        if not with_iou and out_file is not None:
            raise UserError('RefinedIoUMetric: out_file is the report of the IoU, which with_iou=False leaves out; '
                            'remove out_file, or set with_iou=True')
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.with_iou = with_iou
        self.num_workers = workers_per_rank() if num_workers is None else check_num_workers(num_workers)
        self.out_file = out_file
        self.table: Table | None = None
        self._pool: OrderedPool | None = None
        self._reset()

    def _reset(self) -> None:
        # The last image stands apart: a sampler may have repeated one to fill up the last batch of a rank.
        self.images: list[str] = []
        self.confusion: np.ndarray | int = 0
        self.last: np.ndarray | int = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Hands a batch to the workers, and counts what is done.

        Args:
            data_batch: Not used.
            data_samples: Predictions as dicts, with ``seg_logits``, ``img_path``, ``ori_shape``, and ``seg_map_path``
                where it is to be evaluated on.

        Raises:
            UserError: If a sample has no mask to evaluate on or one that does not fit; if the model predicts no
                probabilities of all classes at the size of the image; if a post-processor fails.
        """
        if self._pool is None:
            if self.out_dir is not None:
                remove_leftovers(self.out_dir, recursive=True)
            self._pool = OrderedPool(_Refiner(self.postprocessors, self.out_dir), self.num_workers)
        for sample in data_samples:
            self._count(self._pool.submit(self._job(sample)))

    def _job(self, sample: dict) -> '_Job':
        path, size = sample['img_path'], tuple(int(n) for n in sample['ori_shape'][:2])
        logits = sample['seg_logits']['data'] if 'seg_logits' in sample else None
        expected = (len(self.dataset_meta['classes']), *size)
        if logits is None or tuple(logits.shape) != expected:
            raise UserError(f'{path}: RefinedIoUMetric needs seg_logits of {list(expected)} (background and classes, '
                            f'size of the image), got {None if logits is None else list(logits.shape)}; let the model '
                            'predict them')
        mask_path = sample.get('seg_map_path') if self.with_iou else None
        if self.with_iou and mask_path is None:
            raise UserError(f'{path}: no ground truth mask to evaluate on; without masks, set with_iou=False')
        probabilities = logits.detach().float().softmax(dim=0).cpu().numpy()
        return _Job(path, sample.get('stem') or stem_of(path), probabilities, mask_path, sample.get('mask_values'))

    def _count(self, outcomes: Sequence[tuple[str, np.ndarray | int]]) -> None:
        for path, confusion in outcomes:
            self.images.append(path)
            self.confusion = self.confusion + self.last
            self.last = confusion

    def evaluate(self, size: int) -> dict[str, float]:
        """Waits for the workers, sums the counts over the ranks and computes the metrics.

        Args:
            size: Number of images of the data set.

        Returns:
            On every rank: ``num_labels``, the images that were post-processed; with masks, in percent: ``mIoU``,
            ``precision`` and ``recall``, means over background and classes (NaN where nothing can be computed).

        Raises:
            UserError: If images were counted twice, or see :meth:`process`.
        """
        if self._pool is not None:
            self._count(self._pool.drain())
            self._pool = None
        last = all_gather_object(self.images[-1] if self.images else '')
        others = all_gather_object(self.images[:-1])
        repeated = is_repeated(last, others, get_rank())
        num_foreground = len(self.dataset_meta['classes']) - 1
        confusion = np.zeros((num_foreground + 1, num_foreground + 2), np.int64) + self.confusion
        if not repeated:
            confusion = confusion + self.last
        totals = torch.from_numpy(np.append(confusion.ravel(), len(self.images) - repeated))
        all_reduce(totals, op='sum')
        *_, num_images = totals.tolist()
        self._reset()
        if num_images > size:
            raise UserError(f'RefinedIoUMetric: {num_images} images were counted, but the data set has {size}; use '
                            'DefaultSampler, or a sampler that repeats none')
        metrics = self.compute_metrics([(totals[:-1].numpy().reshape(confusion.shape), num_images)])
        return {f'{self.prefix}/{key}': value for key, value in metrics.items()} if self.prefix else metrics

    def compute_metrics(self, results: list[tuple[np.ndarray, int]]) -> dict[str, float]:
        """Computes the metrics from counts, and logs and writes the report.

        Args:
            results: The confusion matrix, [C + 1, C + 2], and the number of images, in a list.

        Returns:
            See :meth:`evaluate`, without the prefix.
        """
        (confusion, num_images), = results
        if not self.with_iou:
            return dict(num_labels=num_images)
        report = label_report(confusion, self.dataset_meta['classes'][1:], num_images)
        if is_main_process():
            self.table = report_table(report, 'after post-processing')
            log_table(self.table)
            write_report(report, self.out_file)
        percent = {name: float('nan') if report[name] is None else 100 * report[name]
                   for name in ('mIoU', 'precision', 'recall')}
        return dict(percent, num_labels=num_images)


@dataclass
class _Job:
    """One image for the workers."""
    img_path: str
    stem: str
    probabilities: np.ndarray
    mask_path: str | None
    mask_values: Mapping[Any, int] | None = None


class _Refiner:
    """Refines, writes and evaluates one image; what a worker does."""

    def __init__(self, postprocessors: Sequence[Postprocessor], out_dir: Path | None) -> None:
        self.postprocessors = postprocessors
        self.out_dir = out_dir

    def __call__(self, job: _Job) -> tuple[str, np.ndarray | int]:
        """Returns the path of the image and its confusion matrix, 0 without mask."""
        image = read_image(job.img_path)
        try:
            label = refine_label(job.probabilities, image, self.postprocessors)
        except UserError as error:
            raise UserError(f'{job.img_path}: {error}') from error
        num_foreground = len(job.probabilities) - 1
        # Evaluated before anything is written, wherever that goes.
        confusion = 0 if job.mask_path is None else confusion_matrix(
            label, load_mask(job.mask_path, label.shape, num_foreground, job.mask_values), num_foreground)
        if self.out_dir is not None:
            write_label(label_path(self.out_dir, job.stem), label)
        return job.img_path, confusion
