"""Images from any source: files, folders, data sets, arrays, tensors, PIL images."""
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmwsss.apis.prediction_files import INDEX, LABELS, OVERLAYS
from mmwsss.datasets import DataFolder
from mmwsss.datasets.layout import IMAGE_EXTENSIONS, walk_files
from mmwsss.structures.image_file import upright
from mmwsss.utils.errors import UserError

OneImage = str | Path | np.ndarray | torch.Tensor | Image.Image
# One image, a folder of them, a data set, or images one after the other.
Images = OneImage | DataFolder | Iterable[OneImage]
ORDERS = ('bgr', 'rgb')


def is_one(images: Images) -> bool:
    """Returns whether this is a single image, and not a folder or several images."""
    if isinstance(images, (str, Path)):
        return not Path(images).is_dir()
    return isinstance(images, (np.ndarray, torch.Tensor, Image.Image))


def list_images(path: str | Path) -> list[Path]:
    """Returns the images of a folder and its sub folders, in order; a file is returned as it is.

    Linked folders are followed. Hidden files and folders are skipped, and what ``mmwsss predict`` has written:
    ``labels`` and ``overlays`` beside a ``predictions.json``.

    Raises:
        UserError: If a folder holds no images.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    found = sorted((file for file in walk_files(path, IMAGE_EXTENSIONS)
                    if not any(_is_written(parent) for parent in file.parents if parent.is_relative_to(path)
                               and parent != path)),
                   key=lambda file: (file.parent, file.name))
    if not found:
        raise UserError(f'{path}: holds no images ({", ".join(sorted(IMAGE_EXTENSIONS))})')
    return found


def _is_written(folder: Path) -> bool:
    return folder.name in (LABELS, OVERLAYS) and (folder.parent / INDEX).is_file()


def list_sources(images: Images) -> Iterable[OneImage]:
    """Returns the images one after the other: those in a folder or data set, or one in a list."""
    if isinstance(images, DataFolder):
        paths = images.image_paths()
        return [paths[stem] for stem in images.stems(None)]
    if isinstance(images, (str, Path)):
        return list_images(images)
    return [images] if is_one(images) else images


def to_bgr(image: np.ndarray | torch.Tensor | Image.Image, channel_order: str | None = None) -> np.ndarray:
    """Converts an image in memory to the form that an image file is read to.

    Args:
        image: An array uint8 [H, W, 3]; a tensor [3, H, W], uint8, or float in [0, 1]; or a PIL image of any mode,
            which is rotated as its EXIF data says.
        channel_order: ``'bgr'`` or ``'rgb'``, of arrays and tensors; ``None``: BGR for arrays, as OpenCV reads them,
            RGB for tensors, as torchvision has them.

    Returns:
        uint8 [H, W, 3], BGR.

    Raises:
        UserError: For another shape, type or order.
    """
    if channel_order not in (None, *ORDERS):
        raise UserError(f'channel_order: must be one of {", ".join(ORDERS)}, got {channel_order!r}')
    if isinstance(image, Image.Image):
        image = upright(image)
        if image.mode.startswith('I'):  # 16 bits; PIL would cut them off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])
    is_rgb = (channel_order or ('rgb' if isinstance(image, torch.Tensor) else 'bgr')) == 'rgb'
    if isinstance(image, torch.Tensor):
        image = _tensor_to_array(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise UserError(f'an image array is uint8 [H, W, 3], got {image.dtype} {image.shape}')
    return np.ascontiguousarray(image[..., ::-1]) if is_rgb else image


def _tensor_to_array(image: torch.Tensor) -> np.ndarray:
    image = image.detach().cpu()
    if image.ndim != 3 or image.shape[0] != 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise UserError(f'an image tensor is uint8 or float [3, H, W], got {image.dtype} {tuple(image.shape)}')
    if image.is_floating_point():
        if not (float(image.min()) >= 0 and float(image.max()) <= 1):
            raise UserError(f'an image tensor of floats is in [0, 1], got {float(image.min()):g} to '
                            f'{float(image.max()):g}; take off its normalisation')
        image = (image.float() * 255).round().to(torch.uint8)
    return image.permute(1, 2, 0).numpy()
