"""Split & unite, iterative inference and InferCam as the paper says them: one image, patch and round at a time.

Written down independently of :mod:`mmwsss.inference`; nothing is shared between images, patches or rounds.
``tools/benchmark/infer_cam.py`` measures against it.
"""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.inference import InferCam, IterativeErase, SplitUnite
from mmwsss.structures import CAMFunction, CAMOutput


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None].float(), size, mode='bilinear')[0] if len(maps) else maps.new_zeros(0, *size)


def rounds(hook: IterativeErase, inner: CAMFunction, image: Tensor, label: Tensor, area: float, colour: Tensor,
           categories: list[int]) -> Tensor:
    """Iterative inference on one image 3 x H x W; erases where any of ``categories`` is active; C x h x w."""
    size, view, running, covered = image.shape[1:], image, None, 0
    mirrored, strengths, highest = image.flip(-1), None, None
    relative = hook.normalize == 'first' or hook.min_strength > 0
    for _ in range(hook.max_rounds):
        cam = inner(view[None], label[None]).cam[0].float()
        if not hook.mirror_mask:
            cam = cam + inner(mirrored[None], label[None]).cam[0].float().flip(-1)
        cam = cam * (label > 0)[:, None, None]
        strengths = [float(one.max()) for one in cam] if strengths is None else strengths
        for k in range(len(cam)):
            own = max(float(cam[k].max()), hook.min_strength * strengths[k], 1e-5)
            cam[k] = cam[k] / (max(strengths[k], 1e-5) if hook.normalize == 'first' else own)
            if running is not None and relative and strengths[k] <= 1e-5:
                cam[k] = 0
        before = torch.zeros_like(cam) if running is None else running
        highest = cam if highest is None else torch.maximum(highest, cam)
        running = torch.maximum(before, cam) if hook.accumulate == 'max' else before + cam
        erased = (resized(highest[categories], size) >= hook.threshold).any(0)
        new, covered = int(erased.sum()) - covered, int(erased.sum())
        if new == 0 or new < hook.stop_area * area:
            break
        view = torch.where(erased, colour[:, None, None], image)
        mirrored = torch.where(erased, colour[:, None, None], image.flip(-1))  # not the mirrored mask
    return running


def one_iterative(hook: IterativeErase, inner: CAMFunction, image: Tensor, label: Tensor, area: float | None = None,
                  colour: Tensor | None = None) -> Tensor:
    """All classes of one image, together or each with rounds of its own."""
    area = image.shape[1] * image.shape[2] if area is None else area
    if hook.fill == 'dataset_mean':
        colour = image.new_zeros(3)
    elif colour is None:
        colour = image.mean(dim=(1, 2))
    present = label.nonzero().flatten().tolist()
    if hook.erase == 'any' or not present:
        return rounds(hook, inner, image, label, area, colour, present)
    total = None
    for k in present:
        maps = rounds(hook, inner, image, label, area, colour, [k])
        total = torch.zeros_like(maps) if total is None else total
        total[k] = maps[k]
    return total


def one_split(hook: SplitUnite, inner: CAMFunction, image: Tensor, label: Tensor,
              patch_cam: Callable[[Tensor, float], tuple[Tensor, Tensor]]) -> Tensor:
    """Splits one image 3 x H x W, takes the CAM of one patch after the other, and unites them; C x h x w."""
    height, width = image.shape[1:]
    view = image[None]
    if hook.base_scale != 1:
        scaled = [max(1, round(n * hook.base_scale)) for n in (height, width)]
        view = F.interpolate(view, scaled, mode='bilinear', antialias=hook.base_scale < 1)
    base = inner(view, label[None]).cam[0].double()
    present = label.nonzero().flatten().tolist()
    centres = {}
    for k in present:
        if base[k].sum() > 0:
            ys = torch.arange(base.shape[1]).to(base)[:, None] + .5
            xs = torch.arange(base.shape[2]).to(base)[None] + .5
            centres[k] = (float((base[k] * ys).sum() / base[k].sum()) * height / base.shape[1],
                          float((base[k] * xs).sum() / base[k].sum()) * width / base.shape[2])
    if len(present) > 2:
        splits = [([k], [centres[k]] if k in centres and hook.multi_class == 'separate' else []) for k in present]
    else:
        splits = [(present, list(centres.values()))]
    result = image.new_zeros(len(base), height, width)
    for categories, points in splits:
        for top, left, bottom, right in four_boxes(hook, points, height, width):
            patch, scale = image[:, top:bottom, left:right], 1.0
            if patch.shape != image.shape and hook.patch_scale != 1:
                scale = hook.patch_scale
                patch = F.interpolate(patch[None], [max(1, round(n * scale)) for n in patch.shape[1:]], mode='bilinear',
                                      antialias=scale < 1)[0]
            own, cam = patch_cam(patch, scale)
            for k in categories:
                values = cam[k] / max(float(cam[k].max()), 1e-5)
                if hook.normalize == 'image':
                    values = values * own[k].max()
                elif hook.min_strength:
                    values = values * own[k].max() / max(own[k].max(), hook.min_strength * base[k].max().float(), 1e-5)
                values = resized(values[None], (bottom - top, right - left))[0]
                for y in range(top, bottom):
                    result[k, y, left:right] = torch.maximum(result[k, y, left:right], values[y - top])
    result = resized(result, (-(-height // hook.stride), -(-width // hook.stride)))
    if hook.include_base:
        for k in present:
            maps = base[k].float() / (1 if hook.normalize == 'image' else max(float(base[k].max()), 1e-5))
            result[k] = torch.maximum(result[k], resized(maps[None], result.shape[1:])[0])
    return result


def four_boxes(hook: SplitUnite, points: list, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """The four patches of one image; four times the whole image where there is no point to split at."""
    whole = (0, 0, height, width)
    if not points:
        return [whole] * 4
    edges = []
    for axis, length in enumerate((height, width)):
        low, high = min(p[axis] for p in points), max(p[axis] for p in points)
        beyond, unit = hook.overlap[len(points) - 1], hook.align
        upper = min(length, max(hook.min_size, max(1, int((high + beyond) / unit + .5)) * unit))
        lower = min(length, max(hook.min_size, max(1, int((length - low + beyond) / unit + .5)) * unit))
        if upper < length - lower:
            lost = high + beyond - upper, length - low + beyond - lower
            upper, lower = (upper + unit, lower) if lost[0] >= lost[1] else (upper, min(length, lower + unit))
        start, end = length - lower, min(upper, length)
        if length < 2 * hook.min_size:
            start, end = 0, length
        edges.append((start, end))
    (y0, y1), (x0, x1) = edges
    return [(0, 0, y1, x1), (0, x0, y1, width), (y0, 0, height, x1), (y0, x0, height, width)]


def one_crop_at_a_time(hook: SplitUnite | IterativeErase | InferCam, inner: CAMFunction, image: Tensor,
                       label: Tensor) -> Tensor:
    """Applies a hook to one image.

    Args:
        hook: One of the three.
        inner: The CAM function inside.
        image: 3 x H x W, normalised.
        label: C, multi-hot.

    Returns:
        C x h x w.
    """
    def plain(patch: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        cam = inner(patch[None], label[None]).cam[0].float()
        return cam, cam

    def iterated(patch: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        context = ()
        if hook.reference == 'image':
            context = (round(image.shape[1] * image.shape[2] * scale ** 2), image.mean(dim=(1, 2)))
        own = look(patch[None], label[None]).cam[0].float()
        return own, one_iterative(hook.erase, inner, patch, label, *context)

    if isinstance(hook, IterativeErase):
        maps = one_iterative(hook, inner, image, label)
        if hook.normalize == 'first':
            own = inner(image[None], label[None]).cam[0].float()
            if not hook.mirror_mask:
                own = own + inner(image.flip(-1)[None], label[None]).cam[0].float().flip(-1)
            for k in range(len(maps)):
                maps[k] = maps[k] * own[k].max()
        return maps
    if isinstance(hook, SplitUnite):
        return one_split(hook, inner, image, label, plain)

    def look(images: Tensor, labels: Tensor) -> CAMOutput:
        output = inner(images, labels)
        if hook.erase.mirror_mask:
            return output
        return CAMOutput(cam=output.cam + inner(images.flip(-1), labels).cam.flip(-1), logits=output.logits)

    return one_split(hook.split, look, image, label, iterated)
