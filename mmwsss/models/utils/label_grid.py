"""Label maps and scores of an image at the grid of its feature maps."""
import torch
import torch.nn.functional as F
from torch import Tensor


def pool_to_grid(maps: Tensor, stride: int) -> Tensor:
    """Averages maps over the ``stride`` x ``stride`` pixels of every position of the grid.

    Args:
        maps: N x C x H x W. At the right and bottom border cells may be smaller; the mean is over the pixels there are.
        stride: Pixels per position of the grid.

    Returns:
        N x C x ceil(H / stride) x ceil(W / stride).
    """
    if maps.shape[1] == 0:  # avg_pool2d refuses it
        return maps.new_zeros(*maps.shape[:2], *(-(-side // stride) for side in maps.shape[2:]))
    return F.avg_pool2d(maps, stride, ceil_mode=True)


def most_frequent_labels(labels: Tensor, stride: int) -> Tensor:
    """The label that most of the ``stride`` x ``stride`` pixels of a position have.

    That is the argmax of average pooled one-hot maps. AffinityNet's released code takes the argmax of average pooled
    scores, which can be another label where a position holds several: see :func:`mmwsss.postprocessing.pseudo_label`.

    Args:
        labels: N x H x W, any integers.
        stride: Pixels per position of the grid.

    Returns:
        N x ceil(H / stride) x ceil(W / stride); a tie goes to the smallest label.
    """
    values = labels.unique()
    shares = torch.cat([pool_to_grid((labels == value)[:, None].float(), stride) for value in values], dim=1)
    return values[shares.argmax(dim=1)]


def central_labels(labels: Tensor, stride: int) -> Tensor:
    """The label of the pixel in the middle of every position (of an even stride: right and below of it), as IRNet.

    Args:
        labels: N x H x W.
        stride: Pixels per position of the grid.

    Returns:
        N x ceil(H / stride) x ceil(W / stride).
    """
    rows, columns = (torch.arange(stride // 2, side + stride // 2, stride, device=labels.device).clamp(max=side - 1)
                     for side in labels.shape[-2:])
    return labels[:, rows[:, None], columns]


def upsample_from_grid(maps: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Resizes maps from the grid to the image, or to a finer grid, bilinear with ``align_corners=False``.

    The cells of the grid may reach over the right and bottom border of the image: the maps are enlarged by the stride
    and cropped, so that every cell stays over its own pixels.

    Args:
        maps: N x C x h x w, h at least ceil(H / stride) and w at least ceil(W / stride).
        stride: Pixels, or positions of the finer grid, per position of the grid.
        size: (H, W).

    Returns:
        N x C x H x W.
    """
    if maps.shape[1] == 0:  # interpolate refuses it
        return maps.new_zeros(*maps.shape[:2], *size)
    if stride > 1:
        maps = F.interpolate(maps, scale_factor=stride, mode='bilinear', align_corners=False)
    return maps[..., :size[0], :size[1]]
