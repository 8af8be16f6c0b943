"""Interfaces of inference hooks and CAM providers, and their composition."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmwsss.registry import INFERENCE_HOOKS
from mmwsss.structures import CAMFunction, CAMOutput


class InferenceHook(ABC):
    """Wraps a CAM function; with this bound as first argument the hook is a CAM function itself.

    A hook depends neither on the model nor on other hooks. One that crops or rescales returns
    ``feats={}``, because the features no longer belong to its input.
    """

    def bind(self, preprocessor: BaseDataPreprocessor) -> None:  # noqa: B027
        """Called once by the model, for hooks that need the normalisation of the images.

        Args:
            preprocessor: The model's data preprocessor.
        """

    @abstractmethod
    def __call__(self, cam_function: CAMFunction, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """Computes the CAM of a batch through ``cam_function``.

        Args:
            cam_function: The wrapped CAM function.
            inputs: N x 3 x H x W normalised images.
            labels: N x C multi-hot image labels; ``None`` if they are not known.

        Returns:
            The CAM, at any resolution.
        """


class CAMProvider(ABC):
    """Replaces a model's own way of computing its CAM; all hooks wrap around it.

    It may use :meth:`mmwsss.models.BaseCAMModel.forward_maps` and ``pool`` of the model.
    """

    @abstractmethod
    def __call__(self, model: 'BaseCAMModel', inputs: Tensor, labels: Tensor | None) -> CAMOutput:  # noqa: F821
        """Computes the CAM of a batch.

        Args:
            model: The model.
            inputs: N x 3 x H x W normalised images.
            labels: N x C multi-hot image labels; ``None`` if they are not known.

        Returns:
            The CAM, at any resolution.
        """


def compose(cam_function: CAMFunction, hooks: Sequence[InferenceHook | dict]) -> CAMFunction:
    """Wraps a CAM function into hooks.

    Args:
        cam_function: The innermost CAM function, a model's own.
        hooks: Hooks or their configs, outermost first.

    Returns:
        The wrapped CAM function; ``cam_function`` itself for no hooks.
    """
    for hook in reversed(hooks):
        if isinstance(hook, dict):
            hook = INFERENCE_HOOKS.build(hook)
        cam_function = partial(hook, cam_function)
    return cam_function
