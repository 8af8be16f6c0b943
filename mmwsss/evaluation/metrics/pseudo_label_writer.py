"""Writes predictions as label files."""
import numpy as np

from mmwsss.evaluation.metrics.file_writer import FileWriter
from mmwsss.evaluation.threshold_curve import label_from_cam
from mmwsss.registry import METRICS
from mmwsss.structures.cam_file import resize_cam
from mmwsss.structures.label_file import label_path, write_label
from mmwsss.utils.errors import UserError


@METRICS.register_module()
class PseudoLabelWriter(FileWriter):
    """Writes the label map of every sample to ``out_dir/<stem>.png``, an 8-bit palette PNG.

    The label map is ``pred_sem_seg`` (0 background, k + 1 for class k, 255 ignore) where the sample has one, else
    ``pred_cam`` at ``threshold``. ``evaluate`` returns ``num_labels``, the number of files written by all ranks.

    Args:
        out_dir: Folder of the label files. A stem with slashes goes to sub folders.
        threshold: For samples with CAMs: a pixel of the map, resized to the image, is its argmax class where the
            value exceeds this number, else background.
        prefix: Put before ``num_labels``, with a slash.
    """

    count_name = 'num_labels'

    def __init__(self, out_dir: str, threshold: float | None = None, prefix: str | None = None) -> None:
        super().__init__(out_dir, prefix)
        self.threshold = threshold

    def write(self, sample: dict, stem: str) -> None:
        """Writes the label file of a sample.

        Raises:
            UserError: If the sample has neither labels nor, with a threshold, CAMs; or labels that do not fit an
                8-bit file of the image's size.
        """
        path = label_path(self.out_dir, stem)
        size = tuple(int(n) for n in sample['ori_shape'][:2])
        if 'pred_sem_seg' in sample:
            label = self._to_bytes(sample['pred_sem_seg']['data'].detach().cpu().numpy(), size, path)
        elif 'pred_cam' in sample and self.threshold is not None:
            cam = resize_cam(sample['pred_cam']['data'].detach().cpu(), size)
            label = label_from_cam(cam.numpy(), sample['pred_img_label']['label'].cpu().numpy(), self.threshold)
        else:
            raise UserError(f'{path}: the model predicts no labels (pred_sem_seg); for a model that predicts CAMs, set '
                            'threshold in PseudoLabelWriter')
        write_label(path, label)

    @staticmethod
    def _to_bytes(label: np.ndarray, size: tuple[int, int], path: object) -> np.ndarray:
        if label.shape not in (size, (1, *size)):
            raise UserError(f'{path}: the predicted label map is {label.shape}, but the image is {size}; let the model '
                            'predict at the original size')
        if label.min() < 0 or label.max() > 255:
            raise UserError(f'{path}: the predicted labels {label.min()} to {label.max()} do not fit 8 bits')
        return label.reshape(size).astype(np.uint8)
