"""Loading of CAM files, for models that refine them."""
import functools
import os

import numpy as np
from mmcv.transforms import BaseTransform

from mmwsss.registry import TRANSFORMS
from mmwsss.structures.cam_file import CAMManifest, cam_path, read_cam, read_manifest
from mmwsss.structures.maps import grid_size, resize_cam
from mmwsss.structures.settings_folder import MANIFEST_NAME
from mmwsss.utils.errors import UserError

REMAKE = 'run mmwsss cam again: it replaces such files'


@TRANSFORMS.register_module()
class LoadCAM(BaseTransform):
    """Loads the CAM file of an image, for the test pipeline of a model that turns CAMs into labels.

    The CAM is that of the image as it was loaded. Transforms after this one may resize the image, which leaves the
    CAM as it is; they must not crop, pad or flip it.

    Required keys: ``stem``, ``img_path``, ``img_shape``, ``ori_shape``; ``gt_img_label`` and ``flip`` (optional).

    Added keys:

    - ``gt_cam``: [K, h, w] in [0, 1], float16 as stored, or float32 where it was resized.
    - ``gt_cam_classes``: int64 [K], the 0-based classes of the maps; K may be 0.
    - ``class_filter``: where these classes came from, ``'label'``, ``'score'`` or ``'top_k'``, as the folder's
      manifest has it; ``None`` where it does not say.

    Args:
        cam_dir: Folder of the CAM files, from ``mmwsss cam``.
        stride: Brings the maps to ceil(H / stride) x ceil(W / stride) (bilinear), so that batches hold CAMs of one
            size whatever the files have. ``None``: as stored.

    Raises:
        ValueError: If the stride is not a whole number of at least 1.
        UserError: If there is no CAM file, if it is damaged, if it is not one of this image and its label (older than
            the image, of another size, of other classes), or if the image was resized, cropped, padded or flipped
            before.
    """

    def __init__(self, cam_dir: str | os.PathLike, stride: int | None = None) -> None:
        if stride is not None and (not isinstance(stride, int) or isinstance(stride, bool) or stride < 1):
            raise ValueError(f'LoadCAM: stride must be a whole number of at least 1 or None, got {stride!r}')
        self.cam_dir = cam_dir
        self.stride = stride

    @functools.cached_property
    def manifest(self) -> CAMManifest:
        """The folder's manifest. Read by the process that first needs it: the folder may be made after the config."""
        return read_manifest(self.cam_dir)

    def transform(self, results: dict) -> dict:
        """Adds the CAM to ``results``."""
        self._check_place(results)
        path = cam_path(self.cam_dir, results['stem'])
        cam_file = read_cam(path)
        class_filter = self.manifest.extra.get('class_filter')
        size, label = tuple(results['ori_shape'][:2]), results.get('gt_img_label')
        if cam_file.size != size:
            raise UserError(f'{path}: is the CAM of an image of {cam_file.size} (height, width), but '
                            f'{results["img_path"]} is {size}; {REMAKE}')
        if path.stat().st_mtime_ns < os.stat(results['img_path']).st_mtime_ns:
            raise UserError(f'{path}: is older than its image {results["img_path"]}; {REMAKE}')
        self._check_classes(path, cam_file.classes, label, class_filter)
        cam = cam_file.cam
        if self.stride is not None and cam.shape[1:] != grid_size(size, self.stride):
            cam = resize_cam(cam, grid_size(size, self.stride))
        results['gt_cam'], results['gt_cam_classes'], results['class_filter'] = cam, cam_file.classes, class_filter
        return results

    def _check_place(self, results: dict) -> None:
        if 'img_shape' not in results or 'ori_shape' not in results:
            raise UserError('LoadCAM: there is no image yet; put it after LoadImage in the pipeline')
        shape, original = tuple(results['img_shape'][:2]), tuple(results['ori_shape'][:2])
        if results.get('flip') or shape != original:
            change = 'was flipped' if shape == original else f'is now {shape}, and was {original} (height, width)'
            raise UserError(f'{results["img_path"]}: {change}, but its CAM is that of the whole image; put LoadCAM '
                            'right after LoadImage in the pipeline')

    def _check_classes(self, path: os.PathLike, classes: np.ndarray, label: np.ndarray | None,
                       class_filter: str | None) -> None:
        num_classes = len(self.manifest.classes)
        if label is not None and len(label) != num_classes:
            raise UserError(f'{os.path.join(self.cam_dir, MANIFEST_NAME)}: the CAMs are of {num_classes} classes, but '
                            f'the data set has {len(label)}; give the class list that they were made with, or make '
                            'them again')
        if len(classes) and classes.max() >= num_classes:
            raise UserError(f'{path}: has class id {classes.max()}, but there are {num_classes} classes; delete it '
                            'and run mmwsss cam again')
        if class_filter == 'label' and label is not None and sorted(classes) != np.flatnonzero(label).tolist():
            raise UserError(f'{path}: has maps of the classes {sorted(classes.tolist())}, but the label of the image '
                            f'has {np.flatnonzero(label).tolist()}; {REMAKE}')

    def __repr__(self) -> str:
        return f'{type(self).__name__}(cam_dir={str(self.cam_dir)!r}, stride={self.stride})'
