"""Resizing of an image together with its maps."""
import math
from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import Resize

from mmwsss.registry import TRANSFORMS
from mmwsss.utils.errors import UserError


def scaled_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """Returns both sides times ``factor``, rounded, at least 1."""
    return max(1, round(factor * height)), max(1, round(factor * width))


def size_for_long_side(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Returns the size (h, w) whose longer side is ``long_side``; the other is rounded, at least 1."""
    scale = long_side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


@TRANSFORMS.register_module()
class RandomResizeLong(Resize):
    """Resizes so that the longer side has a random length, keeping the aspect ratio.

    Maps in ``seg_fields`` are resized to the same size: label maps to the nearest value, ``gt_saliency``
    bilinearly.

    Required keys: ``img``, ``seg_fields`` (optional). Modified: these, ``img_shape``. Added: ``scale`` (w, h),
    ``scale_factor`` (w, h), ``keep_ratio``.

    Args:
        long_side: Range (low, high) of the length in pixels, both included; every integer is as likely.
        interpolation: Interpolation of the image, one of mmcv's.
        backend: ``'cv2'``, or ``'pillow'``, whose filters also smooth when the image gets smaller; ``'bicubic'`` of the
            latter is what PSA, SEAM and IRNet train with.

    Raises:
        UserError: If the range is empty or not positive.
    """

    def __init__(self, long_side: Sequence[int], interpolation: str = 'bilinear', backend: str = 'cv2') -> None:
        if len(long_side) != 2 or not all(isinstance(n, int) for n in long_side) \
                or not 1 <= long_side[0] <= long_side[1]:
            raise UserError(f'RandomResizeLong: long_side must be (low, high) with 1 <= low <= high, not {long_side}')
        super().__init__(scale=tuple(long_side), interpolation=interpolation, backend=backend)
        self.long_side = tuple(long_side)

    @cache_randomness
    def _random_long_side(self) -> int:
        low, high = self.long_side
        return int(np.random.randint(low, high + 1))

    def transform(self, results: dict) -> dict:
        """Resizes the image and its maps."""
        height, width = size_for_long_side(*results['img'].shape[:2], self._random_long_side())
        results['scale'] = (width, height)
        self._resize_img(results)
        self._resize_seg(results)
        results['keep_ratio'] = True
        return results

    def _resize_seg(self, results: dict) -> None:
        for key in results.get('seg_fields', []):
            if results.get(key) is not None:
                results[key] = mmcv.imresize(
                    results[key], results['scale'], interpolation='bilinear' if key == 'gt_saliency' else 'nearest')

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(long_side={self.long_side}, interpolation={self.interpolation!r}, '
                f'backend={self.backend!r})')


@TRANSFORMS.register_module()
class ScaleImage(BaseTransform):
    """Resizes the image by a factor and leaves its maps alone: one scale of a test at several.

    Predictions are resized back to ``ori_shape``, which the ground truth keeps. No side gets shorter than a pixel,
    which mmcv's ``Resize`` refuses for narrow images.

    Required key: ``img``. Modified: ``img``, ``img_shape``. Added: ``scale_factor`` (w, h), as it came out.

    Args:
        factor: Above 0; 1 leaves the image as it is.
        interpolation: One of mmcv's.

    Raises:
        ValueError: If the factor is not a number above 0.
    """

    def __init__(self, factor: float, interpolation: str = 'bilinear') -> None:
        if not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
            raise ValueError(f'ScaleImage: factor must be a number above 0, got {factor!r}')
        self.factor = factor
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        """Resizes the image."""
        before = results['img'].shape[:2]
        height, width = scaled_size(*before, self.factor)
        if (height, width) != before:
            results['img'] = mmcv.imresize(results['img'], (width, height), interpolation=self.interpolation)
        results['img_shape'] = (height, width)
        results['scale_factor'] = (width / before[1], height / before[0])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(factor={self.factor}, interpolation={self.interpolation!r})'
