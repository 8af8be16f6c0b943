import pytest
import torch
from mmengine.hooks import Hook
from toy_runner import ToyModel, toy_runner

from mmwsss.engine.checkpoint import load_weights_strict
from mmwsss.engine.hooks import FiniteLossHook
from mmwsss.registry import HOOKS
from mmwsss.utils.errors import UserError

GUARD = dict(type='FiniteLossHook')


@HOOKS.register_module(force=True)
class SpoilHook(Hook):
    """Makes the weights NaN before an iteration, as a step at too high a rate does."""

    def __init__(self, iteration, value=float('nan')):
        self.iteration, self.value = iteration, value

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            runner.model.head.weight.data.fill_(self.value)


def runner_of(work_dir, *hooks, **overrides):
    return toy_runner(work_dir, custom_hooks=[dict(type='SeedHook'), *hooks], **overrides)


def test_training_ends_at_the_first_loss_that_is_not_finite(tmp_path):
    with pytest.raises(UserError) as info:
        runner_of(tmp_path, GUARD, dict(type='SpoilHook', iteration=4)).train()
    message = str(info.value)
    assert 'since iteration 4 of 9 (epoch 2' in message and 'epoch_1.pth' in message and 'lr' in message
    assert '\n' not in message
    # The checkpoint of before is there, finite, and the last one.
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_rate_far_too_high_ends_the_training(tmp_path):
    with pytest.raises(UserError, match='not finite'):
        runner_of(tmp_path, GUARD, optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=1e30))).train()
    for path in tmp_path.glob('*.pth'):
        assert all(v.isfinite().all() for v in torch.load(path, weights_only=True)['state_dict'].values())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, value):
    # The last step spoils them, and no loss follows that could tell.
    @HOOKS.register_module(force=True)
    class SpoilLastHook(Hook):
        priority = 'HIGH'

        def after_train_epoch(self, runner):
            if runner.epoch == 2:
                runner.model.conv.weight.data[0, 0] = value

    with pytest.raises(UserError, match=r'1 key with values that are not finite \(conv\.weight\).*epoch_2\.pth'):
        runner_of(tmp_path, dict(type='SpoilLastHook')).train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']


def test_weights_that_are_not_finite_are_not_loaded(tmp_path):
    model = ToyModel()
    model.head.bias.data[1] = float('nan')
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'nan.pth')
    with pytest.raises(UserError, match=r'nan\.pth: 1 key with values that are not finite \(head\.bias\).*diverged'):
        load_weights_strict(ToyModel(), tmp_path / 'nan.pth')
    # Nor by a training that starts from them.
    with pytest.raises(UserError, match='diverged'):
        toy_runner(tmp_path / 'work', load_from=str(tmp_path / 'nan.pth')).train()


class _Runner:
    iter, max_iters, work_dir, train_dataloader = 0, 40, 'nowhere', range(20)


def test_on_a_gpu_losses_are_noted_and_looked_at_now_and_then(tmp_path, monkeypatch):
    hook, runner, looks = FiniteLossHook(interval=5), _Runner(), []
    runner.work_dir = str(tmp_path)
    monkeypatch.setattr(hook, '_look', lambda runner, outputs=None: looks.append(runner.iter))

    monkeypatch.setattr('mmwsss.engine.hooks.finite_loss_hook._is_cheap', lambda tensor: False)
    for step in range(12):
        runner.iter = step
        hook.after_train_iter(runner, step, outputs=dict(loss=torch.tensor(float('inf') if step in (7, 9) else 1.)))
    assert looks == [4, 9]
    monkeypatch.undo()
    with pytest.raises(UserError, match='since iteration 7 of 40'):
        hook.after_train_epoch(runner)


def test_rate_of_zero_is_said_once(tmp_path, capsys):
    scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=2, by_epoch=True, convert_to_iter_based=True)]
    runner_of(tmp_path / 'short', GUARD, param_scheduler=scheduler).train()
    said = capsys.readouterr().out
    assert said.count('the learning rate is 0') == 1 and 'from iteration 5 of 9 on' in said
    del scheduler[0]['end']
    runner_of(tmp_path / 'whole', GUARD, param_scheduler=scheduler).train()
    assert 'the learning rate is 0' not in capsys.readouterr().out


@pytest.mark.parametrize(('losses', 'epoch'), [
    ([[2., 3.], [1., .5]], None), ([[2., 30.], [21., 30.]], 2), ([[2., 60.], [50., 70.]], 1),
    ([[0., 9.], [9., 9.]], None), ([[-2., 9.], [9., 9.]], None)])
def test_loss_that_grows_is_said_once(monkeypatch, losses, epoch):
    hook, runner, said = FiniteLossHook(), _Runner(), []
    monkeypatch.setattr('mmwsss.engine.hooks.finite_loss_hook.print_log', lambda message, **_: said.append(message))
    hook.before_train(runner)
    for runner.epoch, values in enumerate(losses):
        for value in values:
            hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(value)))
        hook.after_train_epoch(runner)
    assert len(said) == (epoch is not None)
    if epoch:
        mean = sum(losses[epoch - 1]) / 2
        assert f'the mean loss of epoch {epoch} is {mean:.3g}, and it was 2 in the first iteration' in said[0]


def test_rate_too_high_for_a_finite_loss_is_said(tmp_path, capsys):
    optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=20.))
    runner_of(tmp_path / 'high', GUARD, optim_wrapper=optim_wrapper).train()
    assert capsys.readouterr().out.count('the training diverges') == 1
    optim_wrapper['optimizer']['lr'] = 1e-3
    runner_of(tmp_path / 'low', GUARD, optim_wrapper=optim_wrapper).train()
    assert 'diverges' not in capsys.readouterr().out


def test_interval_must_be_positive():
    with pytest.raises(UserError, match='interval must be at least 1'):
        FiniteLossHook(interval=0)


def test_configs_have_the_hook(tiny_cam_cfg):
    assert tiny_cam_cfg.default_hooks.finite_loss.type == 'FiniteLossHook'
