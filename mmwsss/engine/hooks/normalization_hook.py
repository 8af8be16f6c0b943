"""A comparison of the data preprocessor with what the loaded weights are for."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.models.utils.normalization import check_normalization
from mmwsss.registry import HOOKS
from mmwsss.utils.dist import unwrapped


@HOOKS.register_module()
class NormalizationHook(Hook):
    """Checks a training's model by :func:`mmwsss.models.utils.normalization.check_normalization`.

    Before the first iteration, when the pretrained weights are loaded: what they are for is in their files.
    """

    def before_train(self, runner: Runner) -> None:
        """Checks the model.

        Raises:
            UserError: If the pretrained weights are for images that are normalised in another way.
        """
        check_normalization(unwrapped(runner.model))
