import random

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.hooks import Hook
from torch.utils.data import Subset
from toy_runner import Killed, ToyDataset, same, toy_runner, train, weights

from mmwsss.engine.hooks.seed_hook import seed_everything, set_dataset_epoch


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item(), torch.randint(2**60, (1,)).item()


def test_seed_everything():
    seen = set()
    for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**31, 7, 10**6)]:
        seed_everything(*key)
        first = draws()
        assert draws() != first
        seed_everything(*key)
        assert draws() == first
        seen.update(first)
    assert len(seen) == 5 * 4  # streams differ between keys and between libraries


def test_set_epoch_reaches_wrapped_data_sets():
    sets = [ToyDataset() for _ in range(4)]

    class Concat(ConcatDataset):  # MMEngine's wants metainfo of BaseDataset

        def __init__(self, datasets):
            self.datasets = datasets

    class Repeat(RepeatDataset):

        def __init__(self, dataset):
            self.dataset = dataset

    for wrapped in (sets[0], Subset(sets[1], [0]), Repeat(Concat([sets[2], Subset(sets[3], [0])]))):
        set_dataset_epoch(wrapped, 5)
    assert [int(dataset.epoch) for dataset in sets] == [5] * 4
    set_dataset_epoch(Subset([1, 2], [0]), 5)  # nothing to tell: nothing happens


class Record(Hook):
    """Notes the epoch of the data set and a random number at each iteration."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append((int(runner.train_dataloader.dataset.epoch), torch.rand(1).item()))


@pytest.mark.parametrize('workers', [0, 2])
def test_seeds_of_a_run(tmp_path, workers):
    record = Record()
    train(toy_runner(tmp_path, custom_hooks=[dict(type='SeedHook'), record], num_workers=workers))
    epochs, numbers = zip(*record.seen)
    assert epochs == (0, 0, 0, 1, 1, 1, 2, 2, 2)
    assert len(set(numbers)) == 9
    again = Record()
    train(toy_runner(tmp_path, custom_hooks=[dict(type='SeedHook'), again], num_workers=2 - workers))
    assert again.seen == record.seen


def test_weights_do_not_depend_on_workers(tmp_path):
    runs = [weights(train(toy_runner(tmp_path / str(n), num_workers=n)).model) for n in (0, 1, 2)]
    assert same(runs[0], runs[1]) and same(runs[0], runs[2])


def test_without_the_hook_a_resumed_training_ends_elsewhere(tmp_path):
    # With a worker: in one process the data set's seeding decides over dropout too.
    options = dict(custom_hooks=[], num_workers=1)
    whole = train(toy_runner(tmp_path / 'whole', **options))
    with pytest.raises(Killed):
        train(toy_runner(tmp_path / 'cut', kill=dict(epoch=1), **options))
    resumed = train(toy_runner(tmp_path / 'cut', resume=True, **options))
    assert not same(weights(resumed.model), weights(whole.model))


def test_iteration_based_training_resumes_with_the_same_weights(tmp_path):
    iters = dict(train_cfg=dict(by_epoch=False, max_iters=8), param_scheduler=None,
                 train_dataloader=dict(dataset=dict(type='ToyDataset'), batch_size=4, num_workers=0,
                                       sampler=dict(type='InfiniteSampler', shuffle=True)),
                 default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', interval=3, by_epoch=False)))
    whole = train(toy_runner(tmp_path / 'whole', **iters))
    with pytest.raises(Killed):
        train(toy_runner(tmp_path / 'cut', kill=dict(iteration=4), **iters))
    resumed = train(toy_runner(tmp_path / 'cut', resume=True, **iters))
    assert same(weights(resumed.model), weights(whole.model))
