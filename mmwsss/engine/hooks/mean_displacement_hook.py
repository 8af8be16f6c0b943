"""The mean displacement of IRNet, computed when the training ends."""
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmwsss.registry import HOOKS
from mmwsss.utils.dist import unwrapped
from mmwsss.utils.errors import UserError


@HOOKS.register_module()
class MeanDisplacementHook(Hook):
    """Computes the mean displacement over the training images after the last epoch, before its checkpoint is written.

    See :meth:`mmwsss.models.affinity.IRNet.update_mean_displacement`. The images are those of the last epoch, in the
    same augmentation, and once more through the network without gradient. Label maps do not need the mean, and neither
    this hook; displacements, which point at centroids, do.
    """

    def before_train(self, runner: Runner) -> None:
        """Checks that there will be a last epoch, after which a checkpoint is written, and a mean displacement."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise UserError('MeanDisplacementHook: works with an EpochBasedTrainLoop; remove the hook or set '
                            "train_cfg.type='EpochBasedTrainLoop'")
        if not hasattr(unwrapped(runner.model), 'update_mean_displacement'):
            raise UserError('MeanDisplacementHook: the model has no displacements; remove the hook from the config')

    def after_train_epoch(self, runner: Runner) -> None:
        """Sets the mean displacement of the model."""
        if self.is_last_train_epoch(runner):
            model = unwrapped(runner.model)
            model.update_mean_displacement(model.data_preprocessor(batch, training=True)['inputs']
                                           for batch in runner.train_dataloader)
