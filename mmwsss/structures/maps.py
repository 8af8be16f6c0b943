"""Arithmetic on maps: what models, inference hooks, evaluation and post-processing do to them."""
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def grid_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Returns the size of the CAM grid of an image: (ceil(H / stride), ceil(W / stride))."""
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes maps bilinearly in float32 (``align_corners=False``).

    Args:
        maps: N x C x h x w.
        size: (H, W) to resize to.

    Returns:
        N x C x H x W, float32; the input itself when it has this size and type.
    """
    maps = maps.float()
    if maps.shape[-2:] == tuple(size):
        return maps
    if maps.shape[1] == 0:  # an image without any class; interpolate refuses it
        return maps.new_zeros(*maps.shape[:2], *size)
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=False)


def resize_cam(cam: np.ndarray | Tensor, size: tuple[int, int]) -> np.ndarray | Tensor:
    """Resizes the maps of one image as :func:`resize_maps` does.

    Evaluation, thresholding and post-processing all use this function, so they see the same maps.

    Args:
        cam: [K, h, w]; K may be 0.
        size: (H, W).

    Returns:
        float32 [K, H, W], an array or a tensor as ``cam`` is.
    """
    if isinstance(cam, np.ndarray):
        return resize_cam(torch.from_numpy(np.ascontiguousarray(cam, np.float32)), size).numpy()
    return resize_maps(cam[None], size)[0]


def resize_aligned(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes maps bilinearly so that corners stay on corners (``align_corners=True``), as SEAM does throughout.

    Args:
        maps: N x C x h x w.
        size: (H, W) to resize to.

    Returns:
        N x C x H x W of the same type; the input itself when it has this size.
    """
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=True)


def rescale_images(images: Tensor, scale: float, interpolation: str = 'bilinear') -> Tensor:
    """Rescales a batch of images, with an antialiasing filter when it gets smaller.

    Args:
        images: N x 3 x H x W.
        scale: Factor for both sides.
        interpolation: ``'bilinear'``, or ``'bicubic'``: the filter of PIL. It goes beyond the values of the image at
            sharp edges, where PIL cuts off at 0 and 255.

    Returns:
        N x 3 x max(1, round(scale * H)) x max(1, round(scale * W)), same memory format; the
        input itself when its size does not change.
    """
    height, width = images.shape[-2:]
    size = max(1, round(scale * height)), max(1, round(scale * width))
    if size == (height, width):
        return images
    if size[1] == 1:
        # With the filter, torch 2.13 mixes up the rows of a channels-last image that becomes one pixel wide.
        images = images.contiguous()
    # Larger, bilinear is the same with the filter and without; bicubic is PIL's with it, and OpenCV's without.
    return F.interpolate(images, size=size, mode=interpolation, align_corners=False,
                         antialias=scale < 1 or interpolation == 'bicubic')


def max_normalize(cam: Tensor, eps: float = 1e-5) -> Tensor:
    """Divides every map by its maximum, per image and class.

    Args:
        cam: ... x h x w, non-negative.
        eps: The least divisor, so that an empty map stays zero. PSA, SEAM and IRNet add it to the maximum instead,
            which leaves the maximum of a faint map below one.

    Returns:
        Maps of the same shape in [0, 1].
    """
    return cam / cam.amax(dim=(-2, -1), keepdim=True).clamp(min=eps)


def min_max_normalize(maps: Tensor, eps: float = 1e-5, inside: Tensor | None = None) -> Tensor:
    """Rectifies maps and brings each to [0, 1) by its minimum and maximum, per image and class, as SEAM does.

    ``p = relu(p); relu(p - min - eps) / (max - min + eps)``.

    Args:
        maps: ... x h x w.
        eps: How far a value must be above the minimum to count, and what keeps the divisor above zero.
        inside: Bools that broadcast to ``maps``: the positions that have a value. Minimum and maximum are theirs, the
            others become zero. ``None``: all.

    Returns:
        Maps of the same shape, float32; gradient flows through minimum and maximum as well.
    """
    maps = F.relu(maps.float())
    if inside is None:
        low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
        return F.relu(maps - low - eps) / (high - low + eps)
    low = maps.masked_fill(~inside, math.inf).amin(dim=(-2, -1), keepdim=True)
    low = low.masked_fill(low.isinf(), 0)  # nothing inside
    high = maps.masked_fill(~inside, 0).amax(dim=(-2, -1), keepdim=True)
    return (F.relu(maps - low - eps) / (high - low + eps)).masked_fill(~inside, 0)
