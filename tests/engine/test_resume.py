import copy
import itertools

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor
from toy_runner import Killed, same, toy_runner, train, weights

from mmwsss.engine.resume import RUN_KEY
from mmwsss.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS
from mmwsss.utils.errors import UserError

POLY = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=True, convert_to_iter_based=True)]
WARM = [dict(type='LinearLR', start_factor=0.1, begin=0, end=4, by_epoch=False),
        dict(type='MultiStepLR', milestones=[2, 4], gamma=0.5, by_epoch=True)]


@HOOKS.register_module(force=True)
class RateHook(Hook):
    """Keeps the learning rates of every iteration."""

    def before_train(self, runner):
        runner.rates = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.rates[runner.iter] = [group['lr'] for group in runner.optim_wrapper.optimizer.param_groups]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class TwoGroups(DefaultOptimWrapperConstructor):
    def add_params(self, params, module, **kwargs):
        for factor, prefix in ((1, 'conv'), (10, 'head'), (10, 'norm')):
            params.append(dict(params=[p for n, p in module.named_parameters() if n.startswith(prefix)],
                               lr=self.base_lr * factor))


def runner_of(work_dir, epochs=3, batch_size=4, lr=0.1, scheduler=POLY, **overrides):
    runner = dict(train_cfg=dict(by_epoch=True, max_epochs=epochs), param_scheduler=copy.deepcopy(scheduler),
                  optim_wrapper=dict(type='OptimWrapper', constructor='TwoGroups', paramwise_cfg=dict(bias_lr_mult=1.0),
                                     optimizer=dict(type='SGD', lr=lr, momentum=0.9)),
                  custom_hooks=[dict(type='SeedHook'), dict(type='RateHook')])
    runner['train_dataloader'] = dict(
        dataset=dict(type='ToyDataset'), sampler=dict(type='DefaultSampler', shuffle=True), batch_size=batch_size,
        num_workers=0)
    return toy_runner(work_dir, **{**runner, **overrides})


@pytest.mark.parametrize('scheduler', [POLY, WARM], ids=['poly', 'warm-up'])
@pytest.mark.parametrize('change', [
    dict(epochs=6), dict(lr=0.02), dict(batch_size=2), dict(epochs=5, batch_size=5, lr=1.), dict(epochs=2)], ids=str)
def test_schedule_is_that_of_a_training_with_the_new_settings(tmp_path, change, scheduler):
    with pytest.raises(Killed):
        runner_of(tmp_path / 'work', scheduler=scheduler, kill=dict(epoch=1)).train()
    whole = runner_of(tmp_path / 'whole', scheduler=scheduler, **change)
    whole.train()
    resumed = runner_of(tmp_path / 'work', scheduler=scheduler, resume=True, **change)
    resumed.train()
    begin = len(resumed.train_dataloader)  # one epoch was done
    assert sorted(resumed.rates) == list(range(begin, whole.max_iters))
    assert resumed.rates == {step: rates for step, rates in whole.rates.items() if step >= begin}
    assert all(min(rates) > 0 for step, rates in resumed.rates.items() if step < whole.max_iters - 1)
    assert (resumed.epoch, resumed.iter) == (whole.epoch, whole.iter)


def test_what_has_changed_is_said(tmp_path, capsys):
    runner_of(tmp_path).train()
    capsys.readouterr()
    resumed = runner_of(tmp_path, epochs=5, lr=0.2, resume=True)
    resumed.train()
    said = capsys.readouterr().out
    assert 'lr 0.1 -> 0.2; lr 1 -> 2; end of PolyLR 9 -> 15)' in said and 'computed anew' in said, said
    assert len(resumed.rates) == 6


def test_same_settings_leave_the_state_as_it_was(tmp_path, capsys):
    with pytest.raises(Killed):
        runner_of(tmp_path / 'cut', kill=dict(epoch=2)).train()
    resumed = runner_of(tmp_path / 'cut', resume=True)
    resumed.train()
    whole = runner_of(tmp_path / 'whole')
    whole.train()
    assert same(weights(resumed.model), weights(whole.model))
    assert 'computed anew' not in capsys.readouterr().out


def test_momentum_of_the_options_counts(tmp_path):
    runner_of(tmp_path).train()
    wrapper = dict(type='OptimWrapper', constructor='TwoGroups', paramwise_cfg=dict(bias_lr_mult=1.0),
                   optimizer=dict(type='SGD', lr=0.1, momentum=0.5))
    resumed = runner_of(tmp_path, epochs=4, resume=True, optim_wrapper=wrapper)
    resumed.train()
    optimizer = resumed.optim_wrapper.optimizer
    assert {group['momentum'] for group in optimizer.param_groups} == {0.5}
    assert optimizer.state  # the momentum buffers were loaded


@pytest.mark.parametrize('batch_size', [2, 5])
def test_loop_of_iterations_goes_on_at_its_iteration(tmp_path, batch_size):
    options = dict(scheduler=[dict(type='PolyLR', power=0.9, eta_min=0, begin=0, by_epoch=False)],
                   train_cfg=dict(type='IterLimitedTrainLoop', max_iters=11))
    with pytest.raises(Killed):
        runner_of(tmp_path / 'work', kill=dict(epoch=2), **options).train()
    resumed = runner_of(tmp_path / 'work', batch_size=batch_size, resume=True, **options)
    resumed.train()
    whole = runner_of(tmp_path / 'whole', batch_size=batch_size, **options)
    whole.train()
    assert sorted(resumed.rates) == list(range(6, 11))  # two epochs of three batches were done
    assert resumed.rates == {step: whole.rates[step] for step in range(6, 11)}
    assert resumed.iter == 11


def test_classes_must_be_those_of_the_checkpoint(tmp_path, monkeypatch):
    runner_of(tmp_path).train()
    from toy_runner import ToyDataset
    monkeypatch.setattr(ToyDataset, 'metainfo', dict(ToyDataset.metainfo, classes=('two', 'one')))
    with pytest.raises(UserError, match=r"3\.pth: was trained with the same classes in another order.*'two', 'one'"):
        runner_of(tmp_path, epochs=4, resume=True).train()
    monkeypatch.setattr(ToyDataset, 'metainfo', dict(ToyDataset.metainfo, classes=('one', 'three')))
    with pytest.raises(UserError, match='with other classes'):
        runner_of(tmp_path, epochs=4, resume=True).train()


def change_run(path, **values):
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta'][RUN_KEY].update(values)
    torch.save(checkpoint, path)


def test_another_number_of_processes(tmp_path, capsys):
    runner_of(tmp_path).train()
    path = tmp_path / 'epoch_3.pth'
    assert torch.load(path, weights_only=True)['meta'][RUN_KEY] == dict(epoch_length=3, batch_size=4, world_size=1)
    change_run(path, world_size=2)
    with pytest.raises(UserError, match='by 2 processes with a batch of 8 in all, and would be resumed by 1 with 4'):
        runner_of(tmp_path, epochs=4, resume=True).train()
    # The total is what counts.
    change_run(path, world_size=2, batch_size=2)
    runner_of(tmp_path, epochs=4, resume=True).train()
    assert 'with the same total batch' in capsys.readouterr().out


def test_checkpoint_that_does_not_tell_its_length(tmp_path):
    runner_of(tmp_path).train()
    path = tmp_path / 'epoch_3.pth'
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['meta'][RUN_KEY]
    torch.save(checkpoint, path)
    resumed = runner_of(tmp_path, epochs=5, batch_size=2, resume=True)
    resumed.train()
    assert sorted(resumed.rates) == list(range(15, 25))


def test_other_parameters_are_an_error(tmp_path):
    runner_of(tmp_path).train()
    with pytest.raises(UserError, match=r'8 parameters in 3 groups, but now 8 in 1 are trained'):
        runner_of(tmp_path, epochs=4, resume=True, optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))).train()


def test_schedule_that_follows_validation_is_not_computed_anew(tmp_path):
    scheduler = [dict(type='ReduceOnPlateauLR', monitor='loss', by_epoch=True)]
    train(runner_of(tmp_path, scheduler=scheduler))
    runner_of(tmp_path, scheduler=scheduler, resume=True).train()
    with pytest.raises(UserError, match='follows validation results'):
        runner_of(tmp_path, scheduler=scheduler, lr=0.3, resume=True).train()


def test_rates_of_the_test_fall(tmp_path):
    # What the comparisons above compare.
    runner = runner_of(tmp_path)
    runner.train()
    rates = [rates[0] for _, rates in sorted(runner.rates.items())]
    assert all(a > b for a, b in itertools.pairwise(rates)) and rates[0] == 0.1
