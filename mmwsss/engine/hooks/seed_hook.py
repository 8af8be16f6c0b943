"""Random numbers that depend on where the training stands, not on how it got there."""
import random

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.registry import HOOKS


def seed_everything(*key: int) -> None:
    """Seeds ``random``, numpy and torch (all devices) of this process.

    Args:
        *key: Non-negative numbers; the streams of different keys are unrelated.
    """
    words = [int(word) for word in np.random.SeedSequence(key).generate_state(4, np.uint32)]
    random.seed(words[0])
    np.random.seed(words[1])
    torch.manual_seed(words[2] << 32 | words[3])


def set_dataset_epoch(dataset: object, epoch: int) -> None:
    """Calls ``set_epoch(epoch)`` of a data set, or of the data sets that it wraps.

    Args:
        dataset: A data set, or a wrapper that holds others as ``dataset`` or ``datasets``.
        epoch: The epoch that is about to start.
    """
    if hasattr(dataset, 'set_epoch'):
        dataset.set_epoch(epoch)
        return
    for inner in (getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())):
        if inner is not None:
            set_dataset_epoch(inner, epoch)


@HOOKS.register_module()
class SeedHook(Hook):
    """Makes dropout and augmentation the same after a kill and resume; MMEngine saves no state of generators.

    Before each training epoch the data set is told the epoch, from which, its seed and the index it seeds each
    sample (:meth:`mmwsss.datasets.ImageLabelDataset.set_epoch`). Before each iteration, once its batch is
    loaded, the generators of the process are seeded from (seed of the runner, rank, iteration), so what the
    model draws depends on neither the number of data workers nor on earlier iterations.

    A resumed training ends with the same weights if ``randomness=dict(seed=...)`` is set (a random seed of
    MMEngine's is restored too late for the sampler), the ranks are as many as before, and the data set seeds
    its samples.

    For ``IterBasedTrainLoop`` the model's draws are reproduced in the same way. MMEngine runs it as a single
    epoch, so the data set stays at epoch 0: an image that comes again is augmented in the same way again
    unless the data set is left without seed, and then its augmentation is not reproduced by a resumed run.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Tells the data set its epoch."""
        set_dataset_epoch(runner.train_dataloader.dataset, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Seeds the generators of this process."""
        seed_everything(runner.seed, runner.rank, runner.iter)
