"""The end of a training that has diverged."""
import logging
import math

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from mmwsss.engine.checkpoint import find_latest_checkpoint
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import UserError

_NEVER = 2 ** 62
# Mean loss of an epoch over the loss of the first iteration. Sound trainings rise by less: what starts with untrained
# layers starts at the loss of a guess.
_GROWTH = 10.


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends a training whose loss is NaN or infinite, and warns of one that learns at a rate of 0 or at too high a rate.

    Too high: the mean loss of an epoch is more than ten times the loss of the first iteration. Such a training ends as
    any other does, and its model is of no use.

    The loss of every iteration counts, but is looked at only every ``interval`` iterations, at the end of an epoch and
    so before a checkpoint is written: looking at it makes a GPU wait. On the CPU it is looked at each time.

    Args:
        interval: Iterations between two looks on a GPU.
    """

    priority = 'NORMAL'  # before the hooks that write checkpoints

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise UserError(f'FiniteLossHook: interval must be at least 1, got {interval}')
        self.interval = interval
        self._forget()

    def _forget(self) -> None:
        self._first_bad: Tensor | None = None
        self._has_warned = self._has_warned_of_growth = False
        self._first_loss: Tensor | None = None
        self._epoch_loss, self._epoch_iters = 0., 0  # the sum becomes a tensor, on the device of the losses

    def before_train(self, runner: Runner) -> None:
        """Forgets an earlier training."""
        self._forget()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Warns if nothing will be learned in this iteration."""
        rates = [rate for name, values in runner.optim_wrapper.get_lr().items() for rate in values
                 if not name.endswith('base_lr')]
        is_last = runner.iter + 1 >= runner.max_iters  # where MMEngine's poly schedule is at its end
        if rates and not any(rates) and not is_last and not self._has_warned:
            self._has_warned = True
            print_log(f'the learning rate is 0 from iteration {runner.iter} of {runner.max_iters} on: nothing is '
                      'learned any more; let the schedule end with the training (no `end` in param_scheduler)',
                      logger='current', level=logging.WARNING)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Notes a loss that is not finite, and ends the training when it is time to look.

        Raises:
            UserError: If a loss since the last look was not finite.
        """
        loss = (outputs or {}).get('loss')
        if loss is None:
            return
        loss = torch.as_tensor(loss).detach()
        if self._first_bad is None:
            self._first_bad = torch.full((), _NEVER, device=loss.device)
        now = torch.full_like(self._first_bad, runner.iter)
        self._first_bad = torch.where(loss.isfinite().all(), self._first_bad, torch.minimum(self._first_bad, now))
        loss = loss.float().mean()
        self._first_loss = loss if self._first_loss is None else self._first_loss
        self._epoch_loss, self._epoch_iters = self._epoch_loss + loss, self._epoch_iters + 1
        if _is_cheap(loss) or self.every_n_train_iters(runner, self.interval):
            self._look(runner, outputs)

    def after_train_epoch(self, runner: Runner) -> None:
        """Looks before the checkpoint of the epoch is written, and warns if the loss has grown.

        Raises:
            UserError: If a loss since the last look was not finite.
        """
        self._look(runner)
        if self._epoch_iters and not self._has_warned_of_growth:
            first, mean = float(self._first_loss), float(self._epoch_loss) / self._epoch_iters
            if mean > _GROWTH * first > 0:
                self._has_warned_of_growth = True
                print_log(f'the mean loss of epoch {runner.epoch + 1} is {mean:.3g}, and it was {first:.3g} in the '
                          'first iteration: the training diverges; lower the learning rate (--cfg-options '
                          'optim_wrapper.optimizer.lr=...)', logger='current', level=logging.WARNING)
        self._epoch_loss, self._epoch_iters = 0., 0

    def _look(self, runner: Runner, outputs: dict | None = None) -> None:
        first = _NEVER if self._first_bad is None else int(self._first_bad)
        if first != _NEVER:
            self._stop(runner, first, outputs)

    def _stop(self, runner: Runner, first: int, outputs: dict | None) -> None:
        parts = {key: torch.as_tensor(value).detach() for key, value in (outputs or {}).items() if key != 'loss'}
        bad = [f'{key} {float(value):g}' for key, value in parts.items()
               if value.numel() == 1 and not math.isfinite(float(value))]
        latest = find_latest_checkpoint(runner.work_dir)
        raise UserError(f'the loss is not finite since iteration {first} of {runner.max_iters} (epoch '
                        f'{first // len(runner.train_dataloader) + 1}{"; " + ", ".join(bad) if bad else ""}): the '
                        f'training has diverged and ends here. The last checkpoint, {latest or "none yet"}, is from '
                        'before; lower the learning rate (--cfg-options optim_wrapper.optimizer.lr=...)')


def _is_cheap(loss: Tensor) -> bool:
    return loss.device.type == 'cpu'
