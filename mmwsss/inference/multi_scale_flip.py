"""CAMs from several scales of an image and their mirror images."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmwsss.inference.base import InferenceHook
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.structures.maps import grid_size, rescale_images, resize_maps


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

    Raises:
        ValueError: For an empty list of scales, one that is not positive, or an unknown ``reduce``.
    """

    def __init__(self, scales: Sequence[float] = (0.5, 1.0, 1.5, 2.0), flip: bool = True,
                 stride: int = 4, reduce: str = 'sum') -> None:
        if not scales or min(scales) <= 0:
            raise ValueError(f'MultiScaleFlip needs positive scales, got {scales}')
        if reduce not in ('sum', 'max'):
            raise ValueError(f"MultiScaleFlip: reduce is 'sum' or 'max', got {reduce!r}")
        self.scales = tuple(scales)
        self.flip = flip
        self.stride = stride
        self.combine = torch.add if reduce == 'sum' else torch.maximum

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`; ``feats`` is empty."""
        size = grid_size(inputs.shape[-2:], self.stride)
        total, logits = None, []
        for scale in self.scales:
            view = rescale_images(inputs, scale)
            output = self._view(cam_function, view, labels)
            logits.append(output.logits.float())
            cam = resize_maps(output.cam, size)
            total = cam if total is None else self.combine(total, cam)
        return CAMOutput(cam=total, logits=torch.stack(logits).mean(dim=0))

    def _view(self, cam_function: CAMFunction, view: Tensor, labels: Tensor | None) -> CAMOutput:
        if not self.flip:
            return cam_function(view, labels)
        both = torch.cat([view, view.flip(-1)])
        output = cam_function(both, None if labels is None else torch.cat([labels, labels]))
        cam, mirrored = output.cam.chunk(2)
        return CAMOutput(cam=self.combine(cam, mirrored.flip(-1)),
                         logits=torch.stack(output.logits.float().chunk(2)).mean(dim=0))
