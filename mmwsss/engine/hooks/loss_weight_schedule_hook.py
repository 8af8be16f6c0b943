"""Losses that start later than the training."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.registry import HOOKS
from mmwsss.utils.dist import unwrapped
from mmwsss.utils.errors import UserError


@HOOKS.register_module()
class LossWeightScheduleHook(Hook):
    """Sets the weight of a loss to 0 in the first part of a training.

    The weight is ``model.loss_weights[name]``, and follows from the iteration alone: a resumed training has the same,
    and so has one that counts iterations instead of epochs. The loss starts with iteration
    ``round(begin * number of iterations)``, counted from 0.

    Args:
        name: Name of the loss in ``model.loss_weights``.
        begin: Fraction of the training in [0, 1] after which the loss counts.
        value: Its weight from then on; ``None``: the model's.

    Raises:
        ValueError: If ``begin`` is not in [0, 1] or ``value`` is negative.
    """

    def __init__(self, name: str = 'mam', begin: float = 0.3, value: float | None = None) -> None:
        if not 0 <= begin <= 1 or (value is not None and value < 0):
            raise ValueError(f'LossWeightScheduleHook: begin is in [0, 1] and value not negative, got {begin} and '
                             f'{value}')
        self.name = name
        self.begin = begin
        self.value = value

    def before_train(self, runner: Runner) -> None:
        """Finds the weight."""
        weights = getattr(unwrapped(runner.model), 'loss_weights', {})
        if self.name not in weights:
            raise UserError(f'LossWeightScheduleHook.name={self.name}: the model has loss_weights of '
                            f'{", ".join(weights) or "no loss"}; choose one of these or remove the hook')
        if self.value is None:
            self.value = weights[self.name]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Sets the weight of this iteration."""
        has_begun = runner.iter >= round(self.begin * runner.max_iters)
        unwrapped(runner.model).loss_weights[self.name] = self.value if has_begun else 0.0
