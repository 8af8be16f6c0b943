import copy
import os
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from toy_runner import Killed, same, toy_runner, train, weights

from mmwsss.engine.hooks import checkpoint_hook
from mmwsss.registry import HOOKS, METRICS
from mmwsss.utils import fileio
from mmwsss.utils.errors import UserError


def files(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    runner = toy_runner(tmp_path_factory.mktemp('whole'))
    runner.train()
    return weights(runner.model)


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('kill', [dict(epoch=1), dict(epoch=2), dict(iteration=7)])
def test_killed_and_resumed_training_ends_with_the_same_weights(tmp_path, uninterrupted, num_workers, kill):
    with pytest.raises(Killed):
        train(toy_runner(tmp_path, kill=kill, num_workers=num_workers))
    runner = train(toy_runner(tmp_path, num_workers=num_workers, resume=True))
    assert same(weights(runner.model), uninterrupted)


def test_without_resume_a_killed_training_differs(tmp_path, uninterrupted):
    # The comparison above could not fail if the data or the model had no part in the result.
    runner = toy_runner(tmp_path, randomness=dict(seed=8))
    runner.train()
    assert not same(weights(runner.model), uninterrupted)


@pytest.mark.parametrize('hook', ['ChannelsLastHook', 'EMAHook'])
def test_resume_with_other_hooks(tmp_path, hook):
    hooks = [dict(type='SeedHook'), dict(type=hook)]
    whole = toy_runner(tmp_path / 'whole', custom_hooks=hooks)
    whole.train()
    with pytest.raises(Killed):
        toy_runner(tmp_path / 'cut', custom_hooks=hooks, kill=dict(epoch=2)).train()
    resumed = toy_runner(tmp_path / 'cut', custom_hooks=hooks, resume=True)
    resumed.train()
    assert same(weights(resumed.model), weights(whole.model))


def test_resume_restores_state(tmp_path):
    with pytest.raises(Killed):
        toy_runner(tmp_path, kill=dict(epoch=2)).train()
    seen = {}

    class Look(Hook):
        priority = 'LOWEST'

        def before_train(self, runner):
            hub = runner.message_hub
            seen.update(
                epoch=runner.epoch, iter=runner.iter, last=hub.get_info('last_ckpt'),
                loss=copy.deepcopy(hub.get_scalar('train/loss')),
                momentum=len(runner.optim_wrapper.optimizer.state), lr=runner.optim_wrapper.get_lr()['lr'],
                milestones=runner.param_schedulers[0].milestones, step=runner.param_schedulers[0].last_step)

    toy_runner(tmp_path, custom_hooks=[Look()], resume=True).train()
    assert (seen['epoch'], seen['iter']) == (2, 6)
    assert isinstance(seen['loss'], HistoryBuffer) and len(seen['loss'].data[0]) == 6
    assert seen['last'].endswith('epoch_2.pth')
    assert seen['momentum'] == 8 and seen['lr'] == [0.0125] and seen['step'] == 2
    assert Counter(seen['milestones']) == Counter([1, 2, 2])


def test_checkpoint_loads_weights_only(tmp_path, caplog):

    class Litter(Hook):

        def before_train(self, runner):
            runner.message_hub.update_info('scalar', np.float32(1.5))
            runner.message_hub.update_info('array', np.arange(3))
            runner.message_hub.update_info('object', object())

        def after_load_checkpoint(self, runner, checkpoint):
            self.loaded = checkpoint

    runner = toy_runner(tmp_path, custom_hooks=[Litter()], train_cfg=dict(by_epoch=True, max_epochs=1))
    runner.train()
    info = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['message_hub']['runtime_info']
    assert info['scalar'] == 1.5 and type(info['scalar']) is float
    assert 'object' not in info
    litter = Litter()
    runner = toy_runner(tmp_path, custom_hooks=[litter], resume=True, train_cfg=dict(by_epoch=True, max_epochs=1))
    runner.train()
    array = litter.loaded['message_hub']['runtime_info']['array']
    assert isinstance(array, np.ndarray) and array.tolist() == [0, 1, 2]


def test_scheduler_with_a_function_resumes(tmp_path):
    schedule = [dict(type='OneCycleLR', eta_max=0.2, total_steps=9, by_epoch=False)]
    whole = toy_runner(tmp_path / 'whole', param_scheduler=schedule)
    whole.train()
    with pytest.raises(Killed):
        toy_runner(tmp_path / 'cut', param_scheduler=schedule, kill=dict(epoch=1)).train()
    resumed = toy_runner(tmp_path / 'cut', param_scheduler=schedule, resume=True)
    resumed.train()
    assert same(weights(resumed.model), weights(whole.model))


def test_object_elsewhere_is_named(tmp_path):

    @HOOKS.register_module(name='Stowaway', force=True)
    class Stowaway(Hook):

        def before_save_checkpoint(self, runner, checkpoint):
            checkpoint['mine'] = dict(a=[1, object()])

    with pytest.raises(TypeError, match=r"checkpoint\['mine'\]\['a'\]\[1\] is a object"):
        toy_runner(tmp_path, custom_hooks=[dict(type='Stowaway')]).train()


@pytest.mark.parametrize('keep', [1, 2])
def test_new_checkpoint_comes_before_old_one_goes(tmp_path, monkeypatch, keep):
    events = []
    replace, remove = os.replace, checkpoint_hook.AtomicBackend.remove
    monkeypatch.setattr(fileio.os, 'replace', lambda a, b: (events.append(('+', os.path.basename(b))), replace(a, b)))
    monkeypatch.setattr(checkpoint_hook.AtomicBackend, 'remove',
                        lambda self, path: (events.append(('-', os.path.basename(path))), remove(self, path)))
    toy_runner(tmp_path, checkpoint=dict(max_keep_ckpts=keep)).train()
    names = ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    expected = []
    for i, name in enumerate(names):
        expected += [('+', name), ('+', 'last_checkpoint')]
        expected += [('-', names[i - keep])] if i >= keep else []
    assert events == expected
    assert files(tmp_path) == names[-keep:]


def test_checkpoint_left_by_a_kill_between_writing_and_removing_goes_on_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_hook.SafeCheckpointHook, '_remove', lambda self, path: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        toy_runner(tmp_path, checkpoint=dict(max_keep_ckpts=1)).train()
    monkeypatch.undo()
    assert files(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    toy_runner(tmp_path, checkpoint=dict(max_keep_ckpts=1), resume=True).train()
    assert files(tmp_path) == ['epoch_3.pth']


@pytest.mark.parametrize('victim', ['epoch_2.pth', 'last_checkpoint'])
def test_failure_while_writing_leaves_a_whole_checkpoint(tmp_path, monkeypatch, uninterrupted, victim):
    replace = os.replace
    written = []

    def failing(source, target):
        written.append(os.path.basename(target))
        if os.path.basename(target) == victim and 'epoch_2.pth' in written:
            raise OSError(28, 'No space left on device')
        replace(source, target)

    monkeypatch.setattr(fileio.os, 'replace', failing)
    with pytest.raises(OSError, match='No space') as error:
        toy_runner(tmp_path, checkpoint=dict(max_keep_ckpts=1)).train()
    assert error.value.filename == str(tmp_path / victim)
    monkeypatch.undo()
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    assert 'epoch_1.pth' in files(tmp_path) and not list(tmp_path.glob('.*tmp*'))
    runner = toy_runner(tmp_path, checkpoint=dict(max_keep_ckpts=1), resume=True)
    runner.train()
    assert same(weights(runner.model), uninterrupted)
    assert files(tmp_path) == ['epoch_3.pth']


def test_leftovers_of_dead_processes_are_removed(tmp_path, leftover):
    gone = [leftover(tmp_path / name) for name in ('epoch_2.pth', 'best_val_score_epoch_1.pth', 'last_checkpoint')]
    stays = [leftover(tmp_path / 'epoch_2.pth', alive=True), leftover(tmp_path / 'vis_data/other.json')]
    toy_runner(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=1)).train()
    assert all(path.exists() for path in stays) and not any(path.exists() for path in gone)


def test_log_of_a_training_warns_of_no_internals_of_mmengine(tmp_path):

    class Warner(Hook):

        def after_train(self, runner):
            runner.logger.warning('"FileClient" is a word that this run may say')

    toy_runner(tmp_path, custom_hooks=[Warner()], train_cfg=dict(by_epoch=True, max_epochs=1)).train()
    log, = tmp_path.rglob('*.log')
    warned = [line.split('WARNING - ')[1] for line in log.read_text().splitlines() if 'WARNING' in line]
    assert warned == ['"FileClient" is a word that this run may say']


def test_misspelt_setting_shows_before_the_training():
    with pytest.raises(TypeError, match='intervall'):
        checkpoint_hook.SafeCheckpointHook(intervall=1)
    assert checkpoint_hook.SafeCheckpointHook(interval=1, save_optimizer=False, by_epoch=True)


@METRICS.register_module(name='Scripted', force=True)
class Scripted(BaseMetric):
    """Gives the scores of a list, one at each evaluation."""

    def __init__(self, scores):
        super().__init__(prefix='val')
        self.scores = list(scores)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        score = self.scores.pop(0)
        return dict(score=np.float64(score), loss=-score)


def best_run(work_dir, scores, **checkpoint):
    return toy_runner(
        work_dir, train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1), val_cfg=dict(),
        val_dataloader=dict(dataset=dict(type='ToyDataset', length=4), batch_size=4, num_workers=0,
                            sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='Scripted', scores=scores), checkpoint=dict(max_keep_ckpts=1, **checkpoint))


def test_best_checkpoint_is_replaced_after_the_new_one_is_written(tmp_path, monkeypatch):
    events = []
    replace, remove = os.replace, checkpoint_hook.AtomicBackend.remove
    monkeypatch.setattr(fileio.os, 'replace', lambda a, b: (events.append(('+', os.path.basename(b))), replace(a, b)))
    monkeypatch.setattr(checkpoint_hook.AtomicBackend, 'remove',
                        lambda self, path: (events.append(('-', os.path.basename(path))), remove(self, path)))
    best_run(tmp_path, [0.1, 0.3, 0.2], save_best='val/score', rule='greater').train()
    best = [event for event in events if 'best' in event[1]]
    assert best == [('+', 'best_val_score_epoch_1.pth'), ('+', 'best_val_score_epoch_2.pth'),
                    ('-', 'best_val_score_epoch_1.pth')]
    assert files(tmp_path) == ['best_val_score_epoch_2.pth', 'epoch_3.pth']


def test_several_best_checkpoints(tmp_path):
    best_run(tmp_path, [0.2, 0.3, 0.1], save_best=['val/score', 'val/loss'], rule=['greater', 'greater']).train()
    assert files(tmp_path) == ['best_val_loss_epoch_3.pth', 'best_val_score_epoch_2.pth', 'epoch_3.pth']


def test_publish(tmp_path):
    best_run(tmp_path, [0.1, 0.2, 0.3], published_keys=['state_dict']).train()
    published, = [name for name in files(tmp_path) if name.startswith('epoch_3-')]
    assert torch.load(tmp_path / published, weights_only=True).keys() == {'state_dict'}


def test_resume_from_another_model_is_an_error(tmp_path):
    with pytest.raises(Killed):
        toy_runner(tmp_path, kill=dict(epoch=1)).train()
    with pytest.raises(UserError, match=r'epoch_1\.pth: 9 keys of another shape \(conv\.weight \(6, 3, 3, 3\) instead'):
        toy_runner(tmp_path, model=dict(type='ToyModel', width=5), resume=True).train()


def test_resume_from_bare_weights_is_an_error(tmp_path):
    runner = toy_runner(tmp_path)
    torch.save(runner.model.state_dict(), tmp_path / 'bare.pth')
    with pytest.raises(UserError, match=r'bare\.pth: holds weights but no state of a training'):
        toy_runner(tmp_path, load_from=str(tmp_path / 'bare.pth'), resume=True).train()


def test_training_may_start_from_part_of_the_weights_but_validation_may_not(tmp_path):
    runner = toy_runner(tmp_path)
    partial = {key: value + 1 for key, value in runner.model.state_dict().items() if not key.startswith('head')}
    torch.save(dict(state_dict=partial), tmp_path / 'partial.pth')
    runner = toy_runner(tmp_path, load_from=str(tmp_path / 'partial.pth'), kill=dict(iteration=0))
    with pytest.raises(Killed):
        runner.train()
    assert torch.equal(runner.model.conv.weight, partial['conv.weight'])
    runner = best_run(tmp_path, [0.1])
    runner._load_from = str(tmp_path / 'partial.pth')
    with pytest.raises(UserError, match=r'partial\.pth: 2 keys missing \(head\.weight, head\.bias\)'):
        runner.val()
