"""Scores of ten crops."""
import torch
from torch import Tensor

from mmwsss.structures.maps import resize_maps


def ten_crops(images: Tensor, size: int) -> Tensor:
    """Cuts the four corners and the centre out of images, and of these the mirror images.

    Args:
        images: N x 3 x H x W.
        size: Side of the crops, at most H and W.

    Returns:
        10 x N x 3 x size x size.

    Raises:
        ValueError: If the images are smaller.
    """
    height, width = images.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f'crops of {size} pixels do not fit into images of {height} x {width}')
    bottom, right = height - size, width - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
    crops = torch.stack([images[..., y:y + size, x:x + size] for y, x in corners])
    return torch.cat([crops, crops.flip(-1)])


def whole_image(images: Tensor, size: int) -> Tensor:
    """Resizes images to size x size, as the map of a network with crops of this size is made of the whole image."""
    return resize_maps(images, (size, size))
