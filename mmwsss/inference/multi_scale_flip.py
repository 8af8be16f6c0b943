"""CAMs from several scales of an image and their mirror images."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmwsss.inference.base import InferenceHook
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.structures.maps import grid_size, rescale_images, resize_aligned, resize_maps


@INFERENCE_HOOKS.register_module()
class MultiScaleFlip(InferenceHook):
    """Sums the CAMs of rescaled and mirrored views on one grid.

    For every scale s the images are rescaled by s, an image and its mirror image go through the
    CAM function in one batch, the mirrored maps are mirrored back, and all maps are resized to
    the grid ceil(H / stride) x ceil(W / stride) and combined. The scores are the mean over the views.

    Args:
        scales: Factors of the image size.
        flip: Whether to add every view's mirror image.
        stride: Pixels of the input per position of the common grid.
        reduce: ``'sum'`` (as PSA, SEAM and IRNet do) or ``'max'``.
        interpolation: Of the images, ``'bilinear'`` or ``'bicubic'`` (as PSA, SEAM and IRNet do, with PIL; clipped
            to the values that stand for 0 and 255).
        align_views: Whether maps are resized to their view with aligned corners first and from there to the grid, as
            SEAM does: it takes their corners for those of the view. At small scales the two differ by some pixels.

    Raises:
        ValueError: For an empty list of scales, one that is not positive, or an unknown ``reduce`` or
            ``interpolation``.
    """

    def __init__(self, scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0), flip: bool = True,
                 stride: int = 4, reduce: str = 'sum', interpolation: str = 'bilinear',
                 align_views: bool = False) -> None:
        if not scales or min(scales) <= 0:
            raise ValueError(f'MultiScaleFlip needs positive scales, got {scales}')
        if reduce not in ('sum', 'max'):
            raise ValueError(f"MultiScaleFlip: reduce is 'sum' or 'max', got {reduce!r}")
        if interpolation not in ('bilinear', 'bicubic'):
            raise ValueError(f"MultiScaleFlip: interpolation is 'bilinear' or 'bicubic', got {interpolation!r}")
        self.scales = tuple(scales)
        self.flip = flip
        self.stride = stride
        self.combine = torch.add if reduce == 'sum' else torch.maximum
        self.interpolation = interpolation
        self.align_views = align_views
        self._limits: tuple[Tensor, Tensor] | None = None  # what 0 and 255 are once normalised

    def bind(self, preprocessor: BaseDataPreprocessor) -> None:
        """See :meth:`InferenceHook.bind`."""
        mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
        if mean is not None and std is not None:
            self._limits = (0 - mean) / std, (255 - mean) / std

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`; ``feats`` is empty."""
        size = grid_size(inputs.shape[-2:], self.stride)
        total, logits = None, []
        for scale in self.scales:
            view = self._rescale(inputs, scale)
            output = self._view(cam_function, view, labels)
            logits.append(output.logits.float())
            cam = self._resize(output.cam, tuple(view.shape[-2:]), size)
            total = cam if total is None else self.combine(total, cam)
        return CAMOutput(cam=total, logits=torch.stack(logits).mean(dim=0))

    def _rescale(self, inputs: Tensor, scale: float) -> Tensor:
        view = rescale_images(inputs, scale, self.interpolation)
        if self.interpolation == 'bilinear' or self._limits is None or view is inputs:
            return view
        low, high = (limit.to(view).view(1, -1, 1, 1) for limit in self._limits)
        return view.clamp(low, high)

    def _resize(self, cam: Tensor, view: tuple[int, int], size: tuple[int, int]) -> Tensor:
        if not self.align_views:
            return resize_maps(cam, size)
        # One image at a time: all classes at the size of the view take much memory.
        return torch.cat([resize_maps(resize_aligned(one.float(), view), size) for one in cam.split(1)])

    def _view(self, cam_function: CAMFunction, view: Tensor, labels: Tensor | None) -> CAMOutput:
        if not self.flip:
            return cam_function(view, labels)
        both = torch.cat([view, view.flip(-1)])
        output = cam_function(both, None if labels is None else torch.cat([labels, labels]))
        cam, mirrored = output.cam.chunk(2)
        return CAMOutput(cam=self.combine(cam, mirrored.flip(-1)),
                         logits=torch.stack(output.logits.float().chunk(2)).mean(dim=0))
