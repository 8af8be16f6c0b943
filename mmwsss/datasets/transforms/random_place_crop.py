"""Random crops with a random place for images that are smaller."""
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import RandomCrop

from mmwsss.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomPlaceCrop(RandomCrop):
    """Crops at random, and draws a place on the crop's canvas for what is smaller than the crop.

    As PSA, SEAM and IRNet do it. Along an axis in which the image is larger than the crop the crop is at a random
    place of the image; along one in which it is smaller the image is at a random place of the crop, where mmseg's
    ``RandomCrop`` always has it at the top left. :class:`mmwsss.models.WSSSDataPreProcessor`, whose ``size`` must be
    the crop's, does the filling: with zeros after normalisation, label maps with the ignore value. Transforms
    that change the size of the image come before this one.

    Required keys: ``img``, ``seg_fields`` (optional) and the maps that it names. Modified: these and ``img_shape``.
    Added: ``canvas_offset``, (top, left) of the image on the canvas.

    Args:
        crop_size: (h, w), or the side of a square.
        cat_max_ratio: See mmseg's ``RandomCrop``.
        ignore_index: See mmseg's ``RandomCrop``.
    """

    @cache_randomness
    def _random_offset(self, size: tuple[int, int]) -> tuple[int, int]:
        return tuple(int(np.random.randint(max(crop - side, 0) + 1)) for crop, side in zip(self.crop_size, size))

    def transform(self, results: dict) -> dict:
        """Crops the image and its maps."""
        results = super().transform(results)
        results['canvas_offset'] = self._random_offset(results['img_shape'])
        return results
