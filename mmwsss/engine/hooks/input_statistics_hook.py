"""A look at the first images before a training."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.engine.input_statistics import check_input_statistics
from mmwsss.registry import HOOKS
from mmwsss.utils.dist import unwrapped


@HOOKS.register_module()
class InputStatisticsHook(Hook):
    """Checks a few training images by :func:`mmwsss.engine.input_statistics.check_input_statistics`.

    Before the first iteration, when the model has its pretrained weights. A resumed training is not checked again.
    """

    def before_train(self, runner: Runner) -> None:
        """Checks the images.

        Raises:
            UserError: If the pretrained weights belong to images of another style.
        """
        if runner.iter == 0:
            check_input_statistics(unwrapped(runner.model), runner.train_loop.dataloader.dataset)
