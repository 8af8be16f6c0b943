"""InferCam: split & unite around iterative inference."""
from functools import partial

from torch import Tensor

from mmwsss.inference.base import InferenceHook
from mmwsss.inference.iterative_erase import IterativeErase, mean_colour
from mmwsss.inference.split_unite import SplitUnite
from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput

REFERENCE = ('image', 'patch')


@INFERENCE_HOOKS.register_module()
class InferCam(InferenceHook):
    """The whole inference of "Inferring the Class Conditional Response Map" (WACV 2022), section 3.2, figure 5.

    The image is split as in :class:`~mmwsss.inference.split_unite.SplitUnite`, every patch goes through the rounds
    of :class:`~mmwsss.inference.iterative_erase.IterativeErase`, and the maps are united. The base CAM is made
    once, without rounds. Usually the outermost hook, around ``MultiScaleFlip``.

    The cost in pixels that go through the model is that of the inner function times 1 + rounds x ``patch_scale``^2 x
    (area of the patches / area of the image): 4 patches with their overlaps for one class, with the rectangle four
    times for two classes, four patches for every class from three on. With ``erase='class'`` rounds after the first
    count twice for two classes, which share their patches.

    Args:
        split: Arguments of ``SplitUnite``.
        erase: Arguments of ``IterativeErase``.
        reference: What ``stop_area`` is a share of and whose mean colour fills erased pixels: the whole ``'image'``
            (the paper, with ``stop_area=0.01``) or each ``'patch'`` (the released code, with ``stop_area=0.02``).

    Raises:
        ValueError: For an unknown ``reference``, or what the two refuse.
    """

    def __init__(self, split: dict | None = None, erase: dict | None = None, reference: str = 'image') -> None:
        if reference not in REFERENCE:
            raise ValueError(f'InferCam: reference is one of {REFERENCE}, got {reference!r}')
        self.split = SplitUnite(**(split or {}))
        self.erase = IterativeErase(**(erase or {}))
        self.reference = reference

    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """See :meth:`InferenceHook.__call__`; the result is as :class:`SplitUnite`'s."""
        of_image = self.reference == 'image'
        area = inputs.shape[-2] * inputs.shape[-1]
        means = mean_colour(inputs) if of_image else None

        def refine(patches: Tensor, patch_labels: Tensor | None, first: Tensor, wanted: Tensor, images: Tensor,
                   scale: float) -> Tensor:
            return self.erase.further_rounds(cam_function, patches, patch_labels, first, wanted,
                                             round(area * scale ** 2) if of_image else None,
                                             means[images] if of_image else None)

        return self.split.split_and_unite(partial(self.erase.look, cam_function), inputs, labels, refine)
