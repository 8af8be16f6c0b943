"""Patches of split & unite as training images."""
import os
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmwsss.inference.crops import Box, centre_of_mass, plan_split
from mmwsss.registry import TRANSFORMS
from mmwsss.structures.cam_file import cam_path, read_cam
from mmwsss.utils.errors import UserError


@TRANSFORMS.register_module()
class SplitPatch(BaseTransform):
    """Takes one patch of the image instead of the image, with the image's label.

    The training augmentation of "Inferring the Class Conditional Response Map" (WACV 2022), section 4.3 and table 4:
    a classifier whose CAMs are at hand is trained further on the patches that split & unite cuts out, so that it
    pays attention to more parts of the objects. See :func:`~mmwsss.inference.crops.plan_split` for how an image
    is split; every distinct patch is as likely.

    To be placed right after the loading of image and maps, whose pixels the CAM files are about.

    Required keys: ``img``, ``stem``, ``seg_fields`` (optional) and the maps that it names. Modified: these and
    ``img_shape``. The label stays.

    Args:
        cam_dir: Folder of the CAM files ``<stem>.npz`` of the training images, see ``mmwsss cam``.
        prob: Probability that a patch is taken; otherwise the image is left whole.
        multi_class: ``'separate'``: images of three or more classes are split at every class's own centre;
            ``'none'``: they are left whole.
        overlap: Pixels by which patches go on beyond a split line, for one class and for two.
        min_size: Least side of a patch in pixels.

    Raises:
        UserError: If an image's CAM file is missing, invalid or of another size than the image, or if the image
            was flipped before.
        ValueError: For an unknown name or a number out of range.
    """

    def __init__(self, cam_dir: str | os.PathLike, prob: float = 1.0, multi_class: str = 'separate',
                 overlap: Sequence[int] = (10, 20), min_size: int = 32) -> None:
        if multi_class not in ('separate', 'none'):
            raise ValueError(f"SplitPatch: multi_class is 'separate' or 'none', got {multi_class!r}")
        if not 0 <= prob <= 1 or len(overlap) != 2 or min(overlap) < 0 or min_size < 1:
            raise ValueError('SplitPatch needs prob in [0, 1], two numbers of pixels as overlap and min_size >= 1, got '
                             f'{prob}, {overlap}, {min_size}')
        self.cam_dir = cam_dir
        self.prob = prob
        self.multi_class = multi_class
        self.overlap = tuple(overlap)
        self.min_size = min_size

    def transform(self, results: dict) -> dict:
        """Crops the image and its maps."""
        if np.random.random() >= self.prob:
            return results
        boxes = self.patches(results)
        top, left, bottom, right = boxes[np.random.randint(len(boxes))]
        for key in ('img', *results.get('seg_fields', ())):
            results[key] = np.ascontiguousarray(results[key][top:bottom, left:right])
        results['img_shape'] = results['img'].shape[:2]
        return results

    def patches(self, results: dict) -> list[Box]:
        """Returns the boxes of all patches of an image; the whole image where its CAM has no class."""
        path = cam_path(self.cam_dir, results['stem'])
        cam_file, size = read_cam(path), results['img'].shape[:2]
        if cam_file.size != size or results.get('flip'):
            raise UserError(f'{path}: is the CAM of an image of {cam_file.size[0]} x {cam_file.size[1]} (height x '
                            f'width), but the image has been changed or is another one ({size[0]} x {size[1]}); put '
                            'SplitPatch right after the loading, and make the CAMs of these images')
        centres = centre_of_mass(torch.from_numpy(cam_file.cam.astype(np.float32)), size)
        plan = plan_split(centres, size, self.multi_class == 'separate', self.overlap, self.min_size)
        return list(plan) or [(0, 0, *size)]

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(cam_dir={str(self.cam_dir)!r}, prob={self.prob}, '
                f'multi_class={self.multi_class!r}, overlap={self.overlap}, min_size={self.min_size})')
