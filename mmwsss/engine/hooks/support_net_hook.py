"""Keeping SupportNet, a moving average inside of the model, up to date."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.registry import HOOKS
from mmwsss.utils.dist import unwrapped
from mmwsss.utils.errors import UserError


@HOOKS.register_module()
class SupportNetHook(Hook):
    """Makes SupportNet equal to MainNet when a training starts, and moves it after every step of the optimizer.

    See :class:`mmwsss.models.classifiers.PixelSelfSupervision`, which does both. A training starts after
    the weights were initialised and ``load_from`` was loaded; one that is resumed goes on with the SupportNet of its
    checkpoint. With gradient accumulation there are fewer steps than iterations. MMEngine's ``EMAHook`` would validate
    and save the average in the model's place instead. For a model without a SupportNet (the baseline) it does nothing.
    """

    def before_train(self, runner: Runner) -> None:
        """Synchronises SupportNet, unless the training is resumed."""
        if not hasattr(unwrapped(runner.model), 'sync_support_net'):
            raise UserError('SupportNetHook: the model has no SupportNet; remove the hook from the config')
        if runner.iter == 0:
            unwrapped(runner.model).sync_support_net()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Updates SupportNet, if the optimizer has made a step."""
        if runner.optim_wrapper.should_update():
            unwrapped(runner.model).update_support_net()
