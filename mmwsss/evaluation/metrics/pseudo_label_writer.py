"""Writes predictions as label files."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmwsss.evaluation.metrics.file_writer import FileWriter
from mmwsss.evaluation.threshold_curve import label_from_cam
from mmwsss.postprocessing import Postprocessor, build_postprocessors, write_pseudo_label
from mmwsss.postprocessing.background import check_background, needs_saliency
from mmwsss.registry import METRICS
from mmwsss.structures.cam_file import CAMFile
from mmwsss.structures.label_file import label_path, write_label
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.errors import UserError
from mmwsss.utils.parallel import OrderedPool, check_num_workers, workers_per_rank


@METRICS.register_module()
class PseudoLabelWriter(FileWriter):
    """Writes the label map of every sample to ``out_dir/<stem>.png``, an 8-bit palette PNG.

    The label map is ``pred_sem_seg`` (0 background, k + 1 for class k, 255 ignore) where the sample has one, else
    ``pred_cam`` at ``threshold``. With ``background``, it is what :func:`mmwsss.postprocessing.pseudo_label` makes of
    ``pred_cam``, e.g. by a dense CRF, in worker processes while the model goes on with the next images; the same as
    ``mmwsss label`` makes of the CAM files. ``evaluate`` returns ``num_labels``, the number of files
    written by all ranks.

    Args:
        out_dir: Folder of the label files. A stem with slashes goes to sub folders.
        threshold: For samples with CAMs: a pixel of the map, resized to the image, is its argmax class where the
            value exceeds this number, else background.
        prefix: Put before ``num_labels``, with a slash.
        background: Background of the CAMs, see :func:`mmwsss.postprocessing.pseudo_label`.
        postprocessors: Configs of POSTPROCESSORS, applied in this order; they need a background.
        num_workers: Worker processes of each rank; 0: none. ``None``: the CPUs, shared by the ranks.

    Raises:
        UserError: If ``background`` or a post-processor is wrong, there are post-processors without background, or a
            threshold and a background; if ``num_workers`` is not a whole number of 0 or more.
    """

    count_name = 'num_labels'

    def __init__(self, out_dir: str, threshold: float | None = None, prefix: str | None = None,
                 background: dict | None = None, postprocessors: Sequence[dict] = (),
                 num_workers: int | None = None) -> None:
        super().__init__(out_dir, prefix)
        if background is not None:
            check_background(background)
            if needs_saliency(background):
                raise UserError("PseudoLabelWriter: a background of type 'saliency' is for mmwsss label, which reads "
                                'saliency maps')
        if background is None and postprocessors:
            raise UserError('PseudoLabelWriter: postprocessors need a background')
        if background is not None and threshold is not None:
            raise UserError('PseudoLabelWriter: a background stands in place of a threshold; set one of them')
        self.threshold = threshold
        self.background = background
        self.postprocessors = build_postprocessors(postprocessors)
        self.num_workers = workers_per_rank() if num_workers is None else check_num_workers(num_workers)
        self._pool: OrderedPool | None = None

    def write(self, sample: dict, stem: str) -> None:
        """Writes the label file of a sample, or hands it to the workers.

        Raises:
            UserError: If the sample has neither labels nor, with a threshold or background, CAMs; or labels that do not
                fit an 8-bit file of the image's size; or if a post-processor fails.
        """
        path = label_path(self.out_dir, stem)
        size = tuple(int(n) for n in sample['ori_shape'][:2])
        if self.background is not None and 'pred_cam' in sample:
            if self._pool is None:
                self._pool = OrderedPool(_LabelMaker(self.background, self.postprocessors), self.num_workers)
            cam = sample['pred_cam']['data'].detach().cpu().half().numpy()
            classes = sample['pred_img_label']['label'].cpu().numpy().astype(np.int64)
            self._pool.submit(_Job(sample['img_path'], path, CAMFile(classes, cam, size)))
            return
        if self.background is None and 'pred_sem_seg' in sample:
            label = self._to_bytes(sample['pred_sem_seg']['data'].detach().cpu().numpy(), size, path)
        elif 'pred_cam' in sample and self.threshold is not None:
            cam = resize_cam(sample['pred_cam']['data'].detach().cpu(), size)
            label = label_from_cam(cam.numpy(), sample['pred_img_label']['label'].cpu().numpy(), self.threshold)
        else:
            raise UserError(f'{path}: the model predicts no labels (pred_sem_seg); for a model that predicts CAMs, set '
                            'threshold or background in PseudoLabelWriter')
        write_label(path, label)

    def evaluate(self, size: int) -> dict[str, int]:
        """Waits for the workers, and returns how many files were written, on all ranks together.

        Args:
            size: Not used.
        """
        if self._pool is not None:
            self._pool.drain()
            self._pool = None
        return super().evaluate(size)

    @staticmethod
    def _to_bytes(label: np.ndarray, size: tuple[int, int], path: object) -> np.ndarray:
        if label.shape not in (size, (1, *size)):
            raise UserError(f'{path}: the predicted label map is {label.shape}, but the image is {size}; let the model '
                            'predict at the original size')
        if label.min() < 0 or label.max() > 255:
            raise UserError(f'{path}: the predicted labels {label.min()} to {label.max()} do not fit 8 bits')
        return label.reshape(size).astype(np.uint8)


@dataclass
class _Job:
    """One image for the workers."""
    img_path: str
    label_path: Path
    cam_file: CAMFile


class _LabelMaker:
    """Makes and writes the label map of one image; what a worker does."""

    def __init__(self, background: dict, postprocessors: Sequence[Postprocessor]) -> None:
        self.background = background
        self.postprocessors = postprocessors

    def __call__(self, job: _Job) -> None:
        write_pseudo_label(job.label_path, job.cam_file, job.img_path, self.background, self.postprocessors)
