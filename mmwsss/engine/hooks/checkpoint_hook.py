"""Checkpoints that are whole, safe to load, and never missing."""
import hashlib
import inspect
import io
import logging
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner

from mmwsss.engine.checkpoint import (
    check_finite,
    extract_state_dict,
    find_latest_checkpoint,
    load_checkpoint_file,
    load_state_dict_strict,
)
from mmwsss.engine.file_backend import AtomicBackend
from mmwsss.engine.resume import RUN_KEY, describe_run, fit_checkpoint
from mmwsss.engine.weights_only import UnsupportedTypeError, from_weights_only, to_weights_only
from mmwsss.registry import HOOKS
from mmwsss.utils.dist import unwrapped
from mmwsss.utils.errors import UserError


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Saves checkpoints like MMEngine's hook, with these differences.

    - They hold tensors and built-in types only, so that they load with ``weights_only=True``
      (:mod:`mmwsss.engine.weights_only`); this hook restores MMEngine's objects when a run resumes.
    - They and ``last_checkpoint`` are written to a temporary name and renamed, and an old checkpoint, the
      last or the best, is removed only after the new one is in its place.
    - A checkpoint that is resumed, validated or tested must fit the model key by key; MMEngine loads what fits
      and prints the rest. ``load_from`` of a training still loads what fits.
    - What a killed process left of a half-written checkpoint is removed when the next training starts.
    - Weights that are not finite are neither saved, which would replace good ones, nor loaded.
    - A training may be resumed with another length, batch size or learning rate: the schedule is computed anew
      (:mod:`mmwsss.engine.resume`).

    With gradient accumulation the gradients of an unfinished step are not saved, as MMEngine warns on
    resuming: let ``accumulative_counts`` divide the iterations of an epoch if a resumed run has to end with
    the same weights.

    Args:
        backend_args: File backend; by default the atomic one on the local disk.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs) -> None:
        if backend_args is None and kwargs.get('file_client_args') is None:
            backend_args = dict(backend='atomic')
        super().__init__(*args, backend_args=backend_args, **kwargs)
        # Otherwise the first checkpoint would be the one to show a misspelt setting.
        if unknown := sorted(self.args.keys() - inspect.signature(Runner.save_checkpoint).parameters.keys()):
            raise TypeError(f'{type(self).__name__} has no setting {", ".join(unknown)}')

    def before_train(self, runner: Runner) -> None:
        """See the class of MMEngine."""
        runner.logger.addFilter(_not_about_file_client)  # adding it again changes nothing
        super().before_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turns the checkpoint into tensors and built-in types, in place.

        ``meta`` and ``message_hub`` may hold objects of any type, put there to be logged; those that cannot be
        converted are left out with a warning; callables of a scheduler are left out, as its config builds them.

        Raises:
            UserError: If a weight is not finite: the checkpoint before is worth more.
            UnsupportedTypeError: If anything else, such as the optimizer's state, holds an object that cannot be
                converted.
        """
        check_finite(checkpoint.get('state_dict', {}), f'{runner.work_dir}: the weights after iteration {runner.iter}',
                     f'no checkpoint is written, the last one ({self._last_name(runner)}) is from before; lower the '
                     'learning rate (optim_wrapper.optimizer.lr) and train anew')
        meta, hub = checkpoint.get('meta', {}), checkpoint.get('message_hub', {})
        meta[RUN_KEY] = describe_run(runner)
        checkpoint['meta'] = _weights_only_items(meta, 'meta')
        if hub:
            checkpoint['message_hub'] = {key: _weights_only_items(hub[key], f'message_hub[{key!r}]') for key in hub}
        if 'param_schedulers' in checkpoint:
            checkpoint['param_schedulers'] = _without_callables(checkpoint['param_schedulers'])
        for key in checkpoint.keys() - {'meta', 'message_hub'}:
            checkpoint[key] = to_weights_only(checkpoint[key], f'checkpoint[{key!r}]')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restores MMEngine's objects in the checkpoint, in place, and checks that it fits.

        The state of a training that is resumed under other settings is made to fit them, see
        :mod:`mmwsss.engine.resume`.

        Raises:
            UserError: If a weight is not finite, if a key is missing, unexpected or of another shape and the run is not
                a training that merely starts from these weights, or if a training cannot be resumed from this file.
        """
        training = isinstance(runner._train_loop, BaseLoop)
        name = runner._load_from or (find_latest_checkpoint(runner.work_dir) if runner._resume else 'the checkpoint')
        state_dict = extract_state_dict(checkpoint, name)
        meta = checkpoint.get('meta')
        is_state = {'meta', 'message_hub', 'optimizer'} <= checkpoint.keys() and isinstance(meta, dict)
        if training and runner._resume and not (is_state and {'epoch', 'iter'} <= meta.keys()):
            raise UserError(f'{name}: holds weights but no state of a training; start from it without resuming')
        for key in checkpoint.keys() - {'state_dict'}:
            checkpoint[key] = from_weights_only(checkpoint[key])
        if runner._resume or not training:
            load_state_dict_strict(unwrapped(runner.model), state_dict, name)
        if training and runner._resume:
            fit_checkpoint(runner, checkpoint, name)

    def _last_name(self, runner: Runner) -> str:
        found = find_latest_checkpoint(runner.work_dir)
        return found.name if found else 'none'

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            # The checkpoint itself lists the one that is about to go: MMEngine prunes the list when it resumes.
            self.keep_ckpt_ids = deque([*self.keep_ckpt_ids, step])
        if self.max_keep_ckpts > 0:
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, filename, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args)
        if is_main_process():
            AtomicBackend().put_text(str(self.last_ckpt), Path(runner.work_dir, 'last_checkpoint'))
        while 0 < self.max_keep_ckpts < len(self.keep_ckpt_ids):
            self._remove(self.file_backend.join_path(
                self.out_dir, self.filename_tmpl.format(self.keep_ckpt_ids.popleft())))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        # MMEngine removes the old file before it writes the new one; it removes nothing that it does not know of.
        old = self._best_paths()
        self._set_best_paths(dict.fromkeys(old))
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            new = self._best_paths()
            self._set_best_paths({key: path or old[key] for key, path in new.items()})
        for key, path in old.items():
            if path and new[key] and path not in new.values():
                self._remove(path)
                runner.logger.info(f'The previous best checkpoint {path} is removed')

    def _best_paths(self) -> dict[str, str | None]:
        if len(self.key_indicators) == 1:
            return {'': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best_paths(self, paths: dict[str, str | None]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = paths['']
        else:
            self.best_ckpt_path_dict = paths

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        checkpoint = load_checkpoint_file(ckpt_path)
        buffer = io.BytesIO()
        torch.save({key: checkpoint[key] for key in self.published_keys if key in checkpoint}, buffer)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
        path = f'{os.path.splitext(ckpt_path)[0]}-{digest}.pth'
        self.file_backend.put(buffer.getvalue(), path)
        runner.logger.info(f'The checkpoint {ckpt_path} is published as {path}')

    @master_only
    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed's checkpoints are folders
            self.file_backend.rmtree(path)


def _weights_only_items(values: dict, where: str) -> dict:
    converted = {}
    for key, value in values.items():
        try:
            converted[key] = to_weights_only(value, f'{where}[{key!r}]')
        except UnsupportedTypeError as error:
            print_log(f'Left out of the checkpoint: {error}', logger='current', level=logging.WARNING)
    return converted


def _without_callables(schedulers: dict | Iterable[dict]) -> dict | list[dict]:
    if isinstance(schedulers, dict):
        return {name: _without_callables(states) for name, states in schedulers.items()}
    return [{key: value for key, value in state.items() if not callable(value)} for state in schedulers]


def _not_about_file_client(record: logging.LogRecord) -> bool:
    # MMEngine makes a FileClient for every checkpoint, whatever the config says, and warns that it did.
    return not record.getMessage().startswith(('"FileClient" will be deprecated', '"HardDiskBackend" is the alias'))
