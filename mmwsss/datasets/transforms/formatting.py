"""Packing of a sample for the model."""
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.datasets.transforms import PackSegInputs

from mmwsss.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackWSSSInputs(PackSegInputs):
    """Packs image, maps and image-level labels.

    Beside what mmseg's ``PackSegInputs`` packs (``gt_sem_seg``, int64 [1, H, W]), where the sample has them:

    - ``gt_img_label``: ``LabelData`` with ``label`` float32 [C], multi-hot over the foreground classes.
    - ``gt_saliency``: ``PixelData`` with ``data`` float32 [1, H, W] in [0, 1].
    - ``gt_cam``: ``PixelData`` with ``data`` float32 [K, h, w] in [0, 1], and ``gt_cam_classes``: ``LabelData`` with
      ``label`` int64 [K], 0-based (:class:`LoadCAM`; its ``class_filter`` becomes meta information). K may be 0.

    Args:
        meta_keys: Keys of the sample that become meta information, where the sample has them.
    """

    def __init__(self, meta_keys: Sequence[str] = (
            'img_path', 'stem', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip', 'flip_direction',
            'seg_map_path', 'mask_values', 'height', 'width', 'reduce_zero_label', 'class_filter', 'gt_boxes',
            'canvas_offset')) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        """Returns ``inputs`` (uint8 or float32 [3, H, W]) and ``data_samples`` (SegDataSample)."""
        if 'img' in results and min(results['img'].strides) < 0:
            # A flipped image one pixel wide: NumPy calls it contiguous, so mmseg hands it on; torch refuses it.
            results['img'] = results['img'].copy()
        packed = super().transform(results)
        sample = packed['data_samples']
        if results.get('gt_img_label') is not None:
            label = np.asarray(results['gt_img_label'], np.float32)
            sample.gt_img_label = LabelData(label=torch.from_numpy(label.copy()))
        if results.get('gt_saliency') is not None:
            saliency = np.ascontiguousarray(results['gt_saliency'])
            sample.gt_saliency = PixelData(data=torch.from_numpy(saliency)[None].float() / 255)
        if results.get('gt_cam') is not None:
            sample.gt_cam = PixelData(data=torch.from_numpy(np.array(results['gt_cam'], np.float32)))
            sample.gt_cam_classes = LabelData(label=torch.from_numpy(np.array(results['gt_cam_classes'], np.int64)))
        return packed
