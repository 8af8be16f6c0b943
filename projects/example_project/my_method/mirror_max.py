"""An inference hook: how an image becomes a CAM, around whatever is inside."""
import torch
from torch import Tensor

from mmwsss.inference import InferenceHook
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput


@INFERENCE_HOOKS.register_module()
class MirrorMax(InferenceHook):
    """Takes the larger of an image's CAM and its mirror image's, mirrored back, at every position."""

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`."""
        plain, mirrored = cam_function(inputs, labels), cam_function(inputs.flip(-1), labels)
        return CAMOutput(cam=torch.maximum(plain.cam, mirrored.cam.flip(-1)),
                         logits=(plain.logits + mirrored.logits) / 2)
