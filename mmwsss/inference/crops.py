"""Where an image is split, cut and put together again: the geometry of InferCam's split & unite (section 3.2).

A box is (top, left, bottom, right) in pixels, bottom and right excluded.
"""
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmwsss.structures.maps import resize_maps

Box = tuple[int, int, int, int]


def centre_of_mass(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Computes the centre of mass of every map, in pixels of the image that it covers.

    The value at row i of h stands at the pixel coordinate (i + 1/2) H / h, the middle of what it covers.

    Args:
        maps: K x h x w, non-negative.
        size: (H, W) of the image.

    Returns:
        K x 2, float64: (y, x) with 0 < y < H and 0 < x < W; NaN for a map that is zero everywhere.
    """
    maps = maps.double()
    mass = maps.sum(dim=(1, 2))
    centres = []
    for along, length in ((maps.sum(dim=2), size[0]), (maps.sum(dim=1), size[1])):
        count = along.shape[1]
        positions = (torch.arange(count, dtype=torch.float64, device=maps.device) + 0.5) * (length / count)
        centres.append((along * positions).sum(dim=1) / mass)  # 0 / 0 is NaN
    return torch.stack(centres, dim=1)


def split_axis(low: float, high: float, length: int, overlap: int = 0, min_size: int = 1,
               align: int = 1) -> tuple[tuple[int, int], tuple[int, int]]:
    """Splits an axis into two intervals that share what lies between ``low`` and ``high``.

    Args:
        low: Lower one of the two split points, in pixels; equal to ``high`` to split at one point.
        high: Upper one.
        length: Pixels of the axis.
        overlap: Pixels by which either interval goes on beyond the split point that ends it.
        min_size: Least length of an interval. Both are the whole axis where it has no room for two such.
        align: The lengths of the intervals are rounded to the nearest multiple of this, at least one and at least
            ``min_size``. Where they would leave a gap, the one that lost more goes up to the next multiple. So an end
            moves by half of ``align`` at most, where a gap is closed by less than ``align``, and an interval that
            would be shorter than ``align`` or ``min_size`` is as long as the larger of the two.

    Returns:
        (start, end) of the upper or left interval, and of the lower or right one. Together they are the axis.
    """
    if length < 2 * min_size:
        return (0, length), (0, length)
    wanted = high + overlap, length - low + overlap
    first, second = (min(max(math.floor(n / align + 0.5) * align, align, min_size), length) for n in wanted)
    if first + second < length:
        if wanted[0] - first >= wanted[1] - second:
            first += align
        else:
            second += align
    return (0, min(first, length)), (length - min(second, length), length)


def split_boxes(points: Tensor, size: tuple[int, int], overlap: int = 0, min_size: int = 1,
                align: int = 1) -> list[Box]:
    """Splits an image into four patches at one point, or around the rectangle that two points span.

    With two points the patches are the four corners of the image up to the opposite corner of the rectangle, so
    that all four hold the rectangle.

    Args:
        points: M x 2 (y, x) in pixels, M = 1 or 2.
        size: (H, W) of the image.
        overlap: See :func:`split_axis`, as the next two.
        min_size: Least side of a patch.
        align: Multiple that the sides of patches are rounded to.

    Returns:
        Four boxes that cover the image: top left, top right, bottom left, bottom right; less those that equal
        an earlier one.
    """
    low, high = points.amin(dim=0).tolist(), points.amax(dim=0).tolist()
    rows, columns = (split_axis(low[i], high[i], size[i], overlap, min_size, align) for i in (0, 1))
    return list(dict.fromkeys((top, left, bottom, right) for top, bottom in rows for left, right in columns))


def plan_split(centres: Tensor, size: tuple[int, int], separate: bool = True, overlap: tuple[int, int] = (0, 0),
               min_size: int = 1, align: int = 1) -> dict[Box, list[int]]:
    """Decides how an image is split, from the centres of mass of its classes.

    - One class: into four at its centre.
    - Two classes: around the rectangle that the two centres span.
    - Three or more: into four at every class's centre, each split for its own class; with ``separate=False``
      not at all (the released code).

    A class without centre does not take part: of two classes the other one's centre is used, and of three or more
    it gets the whole image. An image none of whose classes has a centre is not split.

    Args:
        centres: K x 2 (y, x) in pixels, NaN for a class whose map is empty.
        size: (H, W) of the image.
        separate: Whether images of three or more classes are split.
        overlap: Pixels for splits at one point, and for splits around a rectangle.
        min_size: See :func:`split_boxes`, as the next.
        align: See there.

    Returns:
        The distinct boxes, each with the indices of the classes that it is for, ascending. Every class is covered
        everywhere. No class gives no box.
    """
    classes, whole = list(range(len(centres))), (0, 0, *size)
    known = [k for k in classes if not centres[k].isnan().any()]
    if not classes:
        return {}
    if not known or (len(classes) > 2 and not separate):
        return {whole: classes}
    if len(classes) <= 2:
        boxes = split_boxes(centres[known], size, overlap[len(known) - 1], min_size, align)
        return dict.fromkeys(boxes, classes)
    plan: dict[Box, list[int]] = {}
    for k in classes:
        boxes = split_boxes(centres[k:k + 1], size, overlap[0], min_size, align) if k in known else [whole]
        for box in boxes:
            plan.setdefault(box, []).append(k)
    return plan


def crop_images(images: Tensor, owners: Sequence[int], boxes: Sequence[Box]) -> Tensor:
    """Cuts patches of one size out of a batch.

    Args:
        images: N x 3 x H x W.
        owners: For each of the G patches the index of its image.
        boxes: For each patch its box.

    Returns:
        G x 3 x h x w, in the memory format of ``images``.
    """
    patches = torch.cat([images[n:n + 1, :, top:bottom, left:right]
                         for n, (top, left, bottom, right) in zip(owners, boxes)])
    return same_format(patches, images)


def unite(plan: Mapping[Box, Sequence[int]], maps: Mapping[Box, Tensor], num_classes: int,
          size: tuple[int, int]) -> Tensor:
    """Puts the maps of the patches of an image together; where patches overlap the maximum stays.

    Args:
        plan: At least one box, each with the indices of the classes that it is for, as :func:`plan_split` gives them.
        maps: For each box its maps, one for every one of these classes, k x h x w of any resolution, non-negative.
        num_classes: K.
        size: (H, W) of the image.

    Returns:
        K x H x W, float32; zero where a class has no patch.
    """
    result = torch.zeros(num_classes, *size, device=next(iter(maps.values())).device)
    for box, classes in plan.items():
        top, left, bottom, right = box
        patch = resize_maps(maps[box][None], (bottom - top, right - left))[0]
        for k, values in zip(classes, patch):
            region = result[k, top:bottom, left:right]
            region.copy_(torch.maximum(region, values))
    return result


def same_format(tensor: Tensor, like: Tensor) -> Tensor:
    """Returns a batch of images in the memory format (channels last or not) of another one."""
    is_last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return tensor.contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)
