"""Training loops."""
import itertools
import math
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmwsss.registry import LOOPS


@LOOPS.register_module()
class IterLimitedTrainLoop(EpochBasedTrainLoop):
    """Trains by epochs until a number of iterations is done; the last epoch may be cut short.

    For recipes that count iterations. MMEngine's ``IterBasedTrainLoop`` runs as a single epoch: every image would be
    augmented in the same way each time (:class:`mmwsss.engine.hooks.SeedHook` seeds a sample from its epoch).
    Checkpoints are saved by epochs, and the one of the last, cut or not, is the result. Learning rate schedules
    are by iterations: ``by_epoch=False, end=max_iters``.

    Args:
        runner: The runner.
        dataloader: Dataloader of one epoch, or its config.
        max_iters: Iterations.
        **kwargs: See :class:`mmengine.runner.EpochBasedTrainLoop`.

    Raises:
        ValueError: If ``max_iters`` is not a whole number, at least 1.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, max_iters: int, **kwargs: Any) -> None:
        if not isinstance(max_iters, int) or max_iters < 1:
            raise ValueError(f'IterLimitedTrainLoop: max_iters must be a whole number, at least 1, got {max_iters!r}')
        super().__init__(runner, dataloader, max_epochs=1, **kwargs)
        # A loader without a batch is reported when the training starts.
        self._max_epochs = math.ceil(max_iters / max(1, len(self.dataloader)))
        self._max_iters = max_iters

    def run_epoch(self) -> None:
        """Runs one epoch, or what is left to do of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in enumerate(itertools.islice(self.dataloader, self._max_iters - self._iter)):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
