import itertools

import pytest
import torch
from toy_runner import Killed, ToyModel, toy_runner, train

from mmwsss.engine.hooks import SupportNetHook
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError

HOOKS = [dict(type='SeedHook'), dict(type='SupportNetHook')]


@MODELS.register_module(force=True)
class WithSupportNet(ToyModel):
    """Writes down when the hook calls, and the head's bias then."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def sync_support_net(self):
        self.calls.append(('sync', self.head.bias.detach().clone()))

    def update_support_net(self):
        self.calls.append(('update', self.head.bias.detach().clone()))


def calls(runner):
    return [name for name, _ in runner.model.calls]


def make(work_dir, **overrides):
    return toy_runner(work_dir, model=dict(type='WithSupportNet'), custom_hooks=HOOKS, **overrides)


@pytest.mark.parametrize('loop', [dict(by_epoch=True, max_epochs=3), dict(by_epoch=False, max_iters=9)])
def test_one_update_after_each_step(tmp_path, loop):
    runner = train(make(tmp_path, train_cfg=loop))
    assert calls(runner) == ['sync'] + 9 * ['update']
    biases = [bias for _, bias in runner.model.calls]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(biases))  # after the step, not before it
    assert torch.equal(biases[-1], runner.model.head.bias)


def test_accumulated_iterations_are_one_step(tmp_path):
    optim = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2)
    runner = train(make(tmp_path, optim_wrapper=optim))
    assert calls(runner) == ['sync'] + 5 * ['update']  # the ninth iteration is the last, and a step
    biases = [bias for _, bias in runner.model.calls]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(biases))


def test_loaded_weights_are_there_when_support_net_starts(tmp_path):
    first = train(make(tmp_path / 'first', train_cfg=dict(by_epoch=True, max_epochs=1)))
    runner = train(make(tmp_path / 'second', load_from=str(tmp_path / 'first/epoch_1.pth')))
    assert calls(runner)[:2] == ['sync', 'update']
    assert torch.equal(runner.model.calls[0][1], first.model.head.bias)


def test_a_resumed_training_keeps_its_support_net(tmp_path):
    with pytest.raises(Killed):
        train(make(tmp_path, kill=dict(epoch=2)))
    resumed = train(make(tmp_path, resume=True))
    assert calls(resumed) == 3 * ['update']


def test_nothing_to_resume_is_a_start(tmp_path):
    assert calls(train(make(tmp_path, resume=True)))[:2] == ['sync', 'update']


def test_a_model_without_support_net_ends_in_one_line(tmp_path):
    with pytest.raises(UserError, match='SupportNetHook: the model has no SupportNet; remove the hook'):
        train(toy_runner(tmp_path, custom_hooks=HOOKS))


def test_goes_before_checkpoints_are_written():
    from mmwsss.engine.hooks import SafeCheckpointHook
    assert SupportNetHook.priority != SafeCheckpointHook.priority == 'VERY_LOW'
