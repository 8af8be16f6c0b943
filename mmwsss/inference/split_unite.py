"""Split & unite: CAMs of the four parts of an image, put together."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmwsss.inference.base import InferenceHook
from mmwsss.inference.crops import Box, centre_of_mass, crop_images, plan_split, unite
from mmwsss.inference.iterative_erase import present_classes
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.structures.maps import grid_size, max_normalize, rescale_images, resize_maps
from mmwsss.utils.size_groups import group_by_size

MULTI_CLASS = ('separate', 'none')
NORMALIZE = ('image', 'patch')
# (patches G x 3 x h x w, their labels, their CAM, which classes each is for G x C, the index of each one's image, how
# much they were enlarged) -> another CAM of the patches
Refine = Callable[[Tensor, Tensor | None, Tensor, Tensor, Tensor, float], Tensor]


@INFERENCE_HOOKS.register_module()
class SplitUnite(InferenceHook):
    """Split & unite of "Inferring the Class Conditional Response Map" (WACV 2022), section 3.2.

    A first CAM of the whole image (the base) gives the centre of mass of every class in it. The image is cut into
    four patches there, see :func:`~mmwsss.inference.crops.plan_split`; a CAM is made for every patch, and the
    maps of the patches are put together, with the maximum where they overlap. The base gives the centres, the
    scores, the map where a patch is the whole image, and, with ``include_base``, a part of the result.

    The distinct patches of all images of a batch go through the CAM function together, those of one size at a
    time, and no more pixels at once than the batch has, unless one patch alone has more (``patch_scale`` above 1).

    Images whose labels are not known (``labels=None``) count as having every class.

    Args:
        multi_class: What to do with three classes or more. ``'separate'`` (the paper): the image is split at every
            class's own centre, and each split gives the map of its own class. ``'none'`` (the released code): such
            images are not split.
        overlap: Pixels by which patches go on beyond a split line: for one split point and for the rectangle of two
            (the released code: 10 and 20; the paper names none).
        normalize: ``'image'``: patches keep the strengths that they have beside each other. ``'patch'`` (paper and
            released code): the map of every patch is divided by its maximum, which aligns the activation of the parts
            of an object; a patch without the object then has a maximum of 1 as well.
        base_scale: The base is made from the image rescaled by this; below 1 it costs less.
        min_size: Least side of a patch in pixels: split lines keep this distance from the border. A side that
            has no room for two is not split.
        align: The sides of patches are rounded to multiples of this many pixels, so that more of them are of one
            size and go through the model together; 1 does not round. Nothing in the paper. How far that moves an end:
            :func:`~mmwsss.inference.crops.split_axis`; what it gains: ``configs/infercam/README.md``.
        stride: Pixels of the input per position of the result.
        patch_scale: Patches are enlarged by this before they go in: a quarter of a small image is smaller than what the
            classifier was trained on.
        include_base: The result is the maximum of the united maps and the base, which is normalised as the patches
            are; in the paper it only determines where to split.
        min_strength: For ``normalize='patch'``: the least divisor of a patch as a share of the base's maximum, so that
            a patch without the object does not end at 1; 0: none.

    Raises:
        ValueError: For an unknown name, a number out of range, or ``min_strength`` where nothing is divided by it.
    """

    def __init__(self, multi_class: str = 'separate', overlap: Sequence[int] = (10, 20), normalize: str = 'image',
                 base_scale: float = 1.0, min_size: int = 32, align: int = 32, stride: int = 4,
                 patch_scale: float = 1.0, include_base: bool = True, min_strength: float = 0.0) -> None:
        if multi_class not in MULTI_CLASS:
            raise ValueError(f'SplitUnite: multi_class is one of {MULTI_CLASS}, got {multi_class!r}')
        if normalize not in NORMALIZE:
            raise ValueError(f'SplitUnite: normalize is one of {NORMALIZE}, got {normalize!r}')
        if len(overlap) != 2 or min(overlap) < 0:
            raise ValueError(f'SplitUnite: overlap is two numbers of pixels (one class, two classes), got {overlap}')
        if base_scale <= 0 or min(min_size, align, stride) < 1:
            raise ValueError('SplitUnite needs base_scale > 0 and min_size, align and stride >= 1, got '
                             f'{base_scale}, {min_size}, {align}, {stride}')
        if patch_scale <= 0 or not 0 <= min_strength <= 1:
            raise ValueError('SplitUnite: patch_scale is positive and min_strength in [0, 1], got '
                             f'{patch_scale} and {min_strength}')
        if min_strength and normalize == 'image':
            raise ValueError("SplitUnite: min_strength is for normalize='patch'; with 'image' patches keep their "
                             'strengths')
        self.multi_class = multi_class
        self.overlap = tuple(overlap)
        self.normalize = normalize
        self.base_scale = base_scale
        self.min_size = min_size
        self.align = align
        self.stride = stride
        self.patch_scale = patch_scale
        self.include_base = include_base
        self.min_strength = min_strength

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`.

        Returns:
            Maps of ceil(H / stride) x ceil(W / stride), N x C x h x w: with ``normalize='patch'`` in [0, 1]; zero
            for classes that are not in the image. The scores are those of the base; ``feats`` is empty.
        """
        return self.split_and_unite(cam_function, inputs, labels)

    def split_and_unite(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None,
                        refine: Refine | None = None) -> CAMOutput:
        """Like :meth:`__call__`, with something done to the CAMs of the patches before they are united.

        Args:
            cam_function: The CAM function inside.
            inputs: N x 3 x H x W normalised images.
            labels: N x C multi-hot image labels or ``None``.
            refine: Gets patches of one size, their labels, their CAM, for each the classes whose maps are wanted
                (G x C, bool), the index of its image and how much they were enlarged; returns their better CAM.
                ``None`` leaves the CAM as it is.
        """
        size = tuple(inputs.shape[-2:])
        output = cam_function(rescale_images(inputs, self.base_scale), labels)
        base, logits = output.cam, output.logits
        del output  # its features are not needed
        present = [mask.nonzero().flatten() for mask in present_classes(labels, base)]
        plans = [plan_split(centre_of_mass(base[n, classes], size), size, self.multi_class == 'separate',
                            self.overlap, self.min_size, self.align) for n, classes in enumerate(present)]
        united: list[dict[Box, Tensor]] = [{} for _ in plans]
        max_pixels = int(inputs.shape[0] * size[0] * size[1] / max(1.0, self.patch_scale) ** 2)
        for owners, boxes in batch_by_size(plans, max_pixels):
            images = torch.tensor(owners, device=inputs.device)
            patches = crop_images(inputs, owners, boxes)
            patch_labels = None if labels is None else labels[images]
            is_whole = patches.shape[-2:] == size
            scale = 1.0 if is_whole else self.patch_scale
            patches = rescale_images(patches, scale)
            cam = base[images] if is_whole and self.base_scale == 1 else cam_function(patches, patch_labels).cam
            classes_of = [present[n][plans[n][box]] for n, box in zip(owners, boxes)]
            refined = cam
            if refine is not None:
                wanted = torch.zeros(cam.shape[:2], dtype=torch.bool, device=cam.device)
                for row, classes in zip(wanted, classes_of):
                    row[classes] = True
                refined = refine(patches, patch_labels, cam, wanted, images, scale)
            for i, (n, box, classes) in enumerate(zip(owners, boxes, classes_of)):
                maps = max_normalize(refined[i, classes].float())
                strength = cam[i, classes].float().amax(dim=(1, 2), keepdim=True)
                if self.normalize == 'image':
                    maps = maps * strength
                elif self.min_strength:
                    least = self.min_strength * base[n, classes].float().amax(dim=(1, 2), keepdim=True)
                    maps = maps * (strength / strength.maximum(least).clamp(min=1e-5))
                united[n][box] = maps
        result = torch.zeros(*base.shape[:2], *grid_size(size, self.stride), device=base.device)
        for n, classes in enumerate(present):
            if not plans[n]:
                continue  # no class
            maps = unite(plans[n], united[n], len(classes), size)
            result[n, classes] = resize_maps(maps[None], result.shape[-2:])[0]
            if self.include_base:
                own = base[n, classes].float() if self.normalize == 'image' else max_normalize(base[n, classes].float())
                own = resize_maps(own[None], result.shape[-2:])[0]
                result[n, classes] = torch.maximum(result[n, classes], own)
        return CAMOutput(cam=result, logits=logits)


def batch_by_size(plans: Sequence[dict[Box, list[int]]], max_pixels: int) -> list[tuple[list[int], list[Box]]]:
    """Puts the patches of several images that have one size together.

    Args:
        plans: The boxes of every image.
        max_pixels: Pixels that a batch may have; but one patch is always a batch.

    Returns:
        Batches (indices of the images, boxes), the largest patches first; every box of every image once.
    """
    owned = [(n, box) for n, plan in enumerate(plans) for box in plan]
    sizes = [(bottom - top, right - left) for _, (top, left, bottom, right) in owned]
    return [([owned[i][0] for i in batch], [owned[i][1] for i in batch])
            for batch in group_by_size(sizes, max_pixels=max_pixels)]
