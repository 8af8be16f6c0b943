"""Loading of images, masks and saliency maps from files."""
import io
import os
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from PIL import Image

from mmwsss.registry import TRANSFORMS
from mmwsss.structures.label_file import read_label
from mmwsss.utils.errors import UserError

CHANGED = 'it has changed since the data set was listed; restore it or start again'


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Loads an image of any kind as BGR uint8 [H, W, 3], rotated as its EXIF data says.

    Grey, palette, RGBA (alpha is dropped) and 16-bit images (their high byte is taken) come out alike, as
    OpenCV decodes them. Takes the arguments of mmcv's ``LoadImageFromFile``, except ``ignore_empty``: a missing
    image never stands for another one.

    Required keys: ``img_path``; ``height`` and ``width`` (optional) are compared with the image.

    Added keys: ``img``, ``img_shape``, ``ori_shape`` (both (H, W)), ``height``, ``width``.

    Args:
        to_float32: Give float32 in 0..255 instead of uint8.
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UserError: If the file cannot be decoded or has another size than the data set listed.
    """

    def __init__(self, to_float32: bool = False, backend_args: dict | None = None) -> None:
        super().__init__(to_float32=to_float32, backend_args=backend_args)

    def transform(self, results: dict) -> dict:
        """Adds the image to ``results``."""
        path = results['img_path']
        try:
            results = super().transform(results)
        except (OSError, AssertionError, cv2.error) as error:  # mmcv asserts that the decoder gave an image
            raise UserError(f'{path}: cannot be read as an image; {CHANGED}') from error
        height, width = results['img_shape']
        if (results.get('height', height), results.get('width', width)) != (height, width):
            raise UserError(f'{path}: is {height} x {width} (height x width) instead of {results["height"]} x '
                            f'{results["width"]}; {CHANGED}')
        results['height'], results['width'] = height, width
        return results


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Loads a segmentation mask or pseudo label (8-bit palette or grey PNG) as uint8 [H, W].

    In place of mmseg's ``LoadAnnotations``: names the file in its errors, and keeps both axes of a mask of one
    line or column.

    Required keys: ``seg_map_path``; ``mask_values`` (optional) says what the numbers or colours in it stand for, see
    :func:`mmwsss.structures.label_file.read_label`. Added keys: ``gt_seg_map``, and its name in ``seg_fields``.

    Raises:
        UserError: If there is no mask, if it is unreadable, or if it has another size than the image.
    """

    def transform(self, results: dict) -> dict:
        """Adds the mask to ``results``."""
        path = results.get('seg_map_path')
        if path is None:
            raise UserError(f'{results["img_path"]}: has no mask; add one, or leave such images out with '
                            'require_masks=True')
        return _add_map(results, 'gt_seg_map', read_label(path, results.get('mask_values')), path)


@TRANSFORMS.register_module()
class LoadSaliency(BaseTransform):
    """Loads a saliency map (8-bit grey PNG, 255 = salient) as uint8 [H, W].

    Its name in ``seg_fields`` lets mmseg's transforms crop and flip it with the image. ``RandomResizeLong``
    resizes it bilinearly. Not for pipelines with mmseg's ``RandomRotate`` or ``RandomCutOut``: these fill every map
    with the ignore value 255, which means salient here.

    Required keys: ``saliency_path``. Added keys: ``gt_saliency``, and its name in ``seg_fields``.

    Raises:
        UserError: If there is no map, if it is unreadable, or if it has another size than the image.
    """

    def transform(self, results: dict) -> dict:
        """Adds the saliency map to ``results``."""
        path = results.get('saliency_path')
        if path is None:
            raise UserError(f'{results["img_path"]}: has no saliency map; add one, or leave such images out with '
                            'require_saliency=True')
        return _add_map(results, 'gt_saliency', read_saliency(path), path)


def read_saliency(path: str | os.PathLike) -> np.ndarray:
    """Reads a saliency map: an 8-bit grey image.

    Args:
        path: The file.

    Returns:
        uint8 [H, W], 255 = salient.

    Raises:
        UserError: If the file is missing, truncated or not grey with at most 8 bits.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path}: saliency map cannot be read ({error.strerror}); check the file') from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            mode, values = image.mode, np.array(image.convert('L')) if image.mode in ('L', '1') else None
    except Exception as error:  # a damaged file can raise nearly anything: OSError, SyntaxError, struct.error ...
        raise UserError(f'{path}: unreadable saliency map ({type(error).__name__}); write it again') from error
    if values is None:
        raise UserError(f'{path}: a saliency map must be an 8-bit grey image, not {mode}; convert it')
    return values


def _add_map(results: dict, key: str, values: np.ndarray, path: str) -> dict:
    if 'img_shape' in results and values.shape != tuple(results['img_shape']):
        raise UserError(f'{path}: is {values.shape[0]} x {values.shape[1]} (height x width), but the image '
                        f'{results["img_path"]} is {results["img_shape"][0]} x {results["img_shape"][1]}; make them '
                        'equal, and load maps before any other transform')
    results[key] = values
    results.setdefault('seg_fields', []).append(key)
    return results
