"""Going on with a training under other settings: what a checkpoint remembers, and what the config now says.

MMEngine loads the state of the optimizer and of the schedules as it was saved, their learning rates and their ends
included. A training that is made longer would go on at the rate where the old one ended, mostly 0, and a new learning
rate would be ignored.
"""
import logging
from collections.abc import Iterable
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapperDict
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmwsss.engine.checkpoint import trained_classes
from mmwsss.engine.train_loops import IterLimitedTrainLoop
from mmwsss.utils.dist import unwrapped
from mmwsss.utils.errors import UserError

# Where a checkpoint keeps what it needs to know of its training, in its meta.
RUN_KEY = 'run'
# What changes from step to step in a schedule; all else are its settings.
_PROGRESS = ('last_step', '_global_step', '_last_value', 'verbose')


def describe_run(runner: Runner) -> dict[str, int]:
    """Returns what a checkpoint says of its training besides epoch and iteration.

    Args:
        runner: A runner that trains.

    Returns:
        ``epoch_length`` (steps of an epoch), ``batch_size`` (of one process) and ``world_size``.
    """
    loader = runner.train_dataloader
    return dict(epoch_length=len(loader), batch_size=loader.batch_size or 1, world_size=runner.world_size)


def fit_checkpoint(runner: Runner, checkpoint: dict, name: str) -> None:
    """Makes the state in a checkpoint fit the settings of the training that resumes it, in place.

    With the settings of the checkpoint nothing is touched. With another length, batch size, learning rate or other
    setting of optimizer and schedules, these are computed anew: the training goes on where one with the new settings
    from its start would be. The epoch stays, and for loops that count iterations the iteration.

    Args:
        runner: The runner, with optimizer and schedules as they are at the start of a training.
        checkpoint: The checkpoint, with MMEngine's objects in it.
        name: Its file, for messages.

    Raises:
        UserError: If the classes differ or stand in another order, if another number of processes makes another total
            batch, or if a schedule that depends on validation results would have to be computed anew.
    """
    _check_classes(runner, checkpoint, name)
    _check_parameters(runner, checkpoint, name)
    changes = _fit_progress(runner, checkpoint, name)
    changes += _changed_settings(runner, checkpoint)
    if not changes:
        return
    if any(getattr(scheduler, 'need_val_args', False) for _, scheduler in _schedulers(runner.param_schedulers)):
        raise UserError(f'{name}: {"; ".join(changes)}: a schedule that follows validation results cannot be computed '
                        'anew; resume with the old settings, or start from these weights (load_from) without --resume')
    _forward(runner, checkpoint['meta']['epoch'], checkpoint['meta']['iter'])
    _put_settings(runner, checkpoint)
    rates = ', '.join(f'{group["lr"]:.3g}' for _, wrapper in _wrappers(runner) for group in wrapper.param_groups[:1])
    print_log(f'{name} is resumed with other settings ({"; ".join(changes)}): the schedule is computed anew, and the '
              f'learning rate goes on at {rates}', logger='current', level=logging.WARNING)


def _check_classes(runner: Runner, checkpoint: dict, name: str) -> None:
    before = trained_classes(checkpoint)
    now = tuple((getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes') or ())
    if before and now and before != now and not getattr(unwrapped(runner.model), 'class_agnostic', False):
        what = 'the same classes in another order' if sorted(before) == sorted(now) else 'other classes'
        raise UserError(f'{name}: was trained with {what}, {list(before)}, but the data has {list(now)}; give the '
                        'class list of that training, or train in another work folder')


def _check_parameters(runner: Runner, checkpoint: dict, name: str) -> None:
    for key, wrapper in _wrappers(runner):
        state = checkpoint['optimizer'] if key is None else checkpoint['optimizer'][key]
        counts = [[len(group['params']) for group in groups]
                  for groups in (state['param_groups'], wrapper.optimizer.param_groups)]
        if counts[0] != counts[1]:
            raise UserError(f'{name}: its optimizer has {sum(counts[0])} parameters in {len(counts[0])} groups, but '
                            f'now {sum(counts[1])} in {len(counts[1])} are trained; freeze the same parts '
                            '(frozen_stages) and keep paramwise_cfg, or start from these weights (load_from) without '
                            '--resume')


def _fit_progress(runner: Runner, checkpoint: dict, name: str) -> list[str]:
    # Returns what has changed in words, and moves the checkpoint to the same place in epochs of another length.
    meta = checkpoint['meta']
    now = describe_run(runner)
    before = meta.get(RUN_KEY) or {}
    if not before and meta['epoch'] and isinstance(runner.train_loop, EpochBasedTrainLoop):
        # A checkpoint of MMEngine's own hook does not tell more.
        before = dict(epoch_length=round(meta['iter'] / meta['epoch']))
    totals = [run.get('batch_size', 0) * run.get('world_size', 0) for run in (before, now)]
    processes = before.get('world_size', now['world_size']), now['world_size']
    if processes[0] != processes[1]:
        if totals[0] != totals[1]:
            raise UserError(f'{name}: was trained by {processes[0]} processes with a batch of {totals[0]} in all, and '
                            f'would be resumed by {processes[1]} with {totals[1]}; start {processes[0]} processes, or '
                            f'set train_dataloader.batch_size so that all together have {totals[0]}')
        print_log(f'{name}: was trained by {processes[0]} processes and is resumed by {processes[1]}, with the same '
                  'total batch: the result is as good, but not the same to the last bit', logger='current',
                  level=logging.WARNING)
    old, new = before.get('epoch_length', now['epoch_length']), now['epoch_length']
    if old == new:
        return []
    if isinstance(runner.train_loop, IterLimitedTrainLoop):
        meta['epoch'] = meta['iter'] // new
    elif isinstance(runner.train_loop, EpochBasedTrainLoop):
        meta['iter'] = meta['epoch'] * new
    return [f'{new} steps an epoch instead of {old}']


def _wrappers(runner: Runner) -> list[tuple[str | None, Any]]:
    wrapper = runner.optim_wrapper
    return list(wrapper.items()) if isinstance(wrapper, OptimWrapperDict) else [(None, wrapper)]


def _schedulers(schedulers: Any) -> list[tuple[tuple, Any]]:
    # (where, schedule or its state) of a list or a dict of lists.
    if isinstance(schedulers, dict):
        return [((name, i), item) for name, items in schedulers.items() for i, item in enumerate(items)]
    return [((None, i), item) for i, item in enumerate(schedulers or ())]


def _changed_settings(runner: Runner, checkpoint: dict) -> list[str]:
    changes = []
    for name, wrapper in _wrappers(runner):
        state = checkpoint['optimizer'] if name is None else checkpoint['optimizer'][name]
        scheduled = {s.param_name for (n, _), s in _schedulers(runner.param_schedulers) if n == name}
        for before, now in zip(state['param_groups'], wrapper.param_groups):
            for key in sorted(before.keys() & now.keys() - {'params'} - scheduled):
                if before.get(key) != now.get(key):
                    changes.append(f'{key.removeprefix("initial_")} {_text(before.get(key))} -> {_text(now.get(key))}')
    saved = dict(_schedulers(checkpoint.get('param_schedulers')))
    built = dict(_schedulers(runner.param_schedulers))
    if saved.keys() != built.keys():
        changes.append(f'{len(saved)} schedules -> {len(built)}')
    for where in saved.keys() & built.keys():
        before, now = saved[where], _settings(built[where].state_dict())
        if getattr(built[where], 'need_val_args', False):
            continue  # what it has found so far is a part of its state
        for key in sorted(_settings(before).keys() & now.keys() - {'base_values', 'total_iters'}):
            if before[key] != now[key]:
                changes.append(f'{key} of {type(built[where]).__name__} {_text(before[key])} -> {_text(now[key])}')
    return list(dict.fromkeys(changes))


def _text(value: Any) -> str:
    return f'{value:g}' if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _settings(state: dict) -> dict:
    return {key: value for key, value in state.items() if key not in _PROGRESS and not callable(value)}


def _forward(runner: Runner, epochs: int, iters: int) -> None:
    # The schedules are chains of factors: what they would be at a step comes out exactly by taking all steps before.
    schedulers = [scheduler for _, scheduler in _schedulers(runner.param_schedulers)]
    length = iters // epochs if epochs else iters
    for _, wrapper in _wrappers(runner):
        wrapper._global_step = 0  # or every schedule warns that the optimizer has made no step yet
    for epoch in range(epochs + 1):
        steps = length if epoch < epochs else iters - epochs * length
        for _ in range(steps):
            _step(schedulers, by_epoch=False)
        if epoch < epochs:
            _step(schedulers, by_epoch=True)


def _step(schedulers: Iterable[_ParamScheduler], by_epoch: bool) -> None:
    for scheduler in schedulers:
        if scheduler.by_epoch == by_epoch:
            scheduler.step()


def _put_settings(runner: Runner, checkpoint: dict) -> None:
    for name, wrapper in _wrappers(runner):
        state = checkpoint['optimizer'] if name is None else checkpoint['optimizer'][name]
        state['param_groups'] = [{**{key: value for key, value in now.items() if key != 'params'},
                                  'params': before['params']}
                                 for before, now in zip(state['param_groups'], wrapper.param_groups)]
        if 'base_param_settings' in state:  # the rates without the factors of the groups, for the log
            state['base_param_settings'] = dict(wrapper.base_param_settings)
    checkpoint.pop('param_schedulers', None)  # those of the runner are where they should be
