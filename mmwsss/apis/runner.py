"""Training, testing and making CAMs: thin functions around MMEngine's Runner."""
import copy
import itertools
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, get_world_size
from mmengine.model import BaseTTAModel
from mmengine.runner import EpochBasedTrainLoop
from rich.table import Table

from mmwsss.config.config import DATALOADERS, backbones_of
from mmwsss.config.supervision import check_supervision
from mmwsss.datasets.checks import check_batch_size
from mmwsss.engine.checkpoint import find_latest_checkpoint, load_weights_strict, trained_classes
from mmwsss.engine.hooks import InputStatisticsHook, NormalizationHook
from mmwsss.engine.input_statistics import check_input_statistics
from mmwsss.engine.logged_runner import LoggedRunner
from mmwsss.engine.mixed_precision import warn_of_slow_amp
from mmwsss.engine.setup import setup
from mmwsss.models.utils.normalization import check_normalization
from mmwsss.utils.dist import init_dist, patch_cfg_for_cpu_ddp, unwrapped
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import naming_errors

# How torch's error for a BatchNorm begins that would normalise a single value.
ONE_VALUE = 'Expected more than 1 value per channel'

_RUN_NUMBER = itertools.count()


@dataclass
class RunResult:
    """Result of a training or a test.

    Attributes:
        checkpoint: The checkpoint that was written (training) or tested.
        metrics: The metrics of a test; ``None`` for numbers that are not finite, which json cannot represent.
        skipped: (file, reason) for every skipped file of the data set.
        tables: The metrics of a test as tables to print, one for each evaluator that has one.
    """
    checkpoint: Path
    metrics: dict = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def prepare_run(cfg: Config, work_dir: str | Path, launcher: str = 'none') -> Config:
    """Sets work folder, launcher and threads of a run, and starts the process group, in place.

    Args:
        cfg: The config. ``num_threads`` in it sets torch's threads per process.
        work_dir: Folder for logs and checkpoints.
        launcher: See :func:`mmwsss.utils.dist.init_dist`.

    Returns:
        ``cfg``.
    """
    setup()
    cfg.work_dir = str(work_dir)
    cfg.launcher = launcher
    # MMEngine keeps loggers and message hubs by this name for the life of the process, and a pipeline
    # has several runs in one process.
    cfg.experiment_name = f'{Path(work_dir).name}_{os.getpid()}_{next(_RUN_NUMBER)}'
    init_dist(launcher)
    patch_cfg_for_cpu_ddp(cfg)
    seed = (cfg.get('randomness') or {}).get('seed')
    for name, value in (('num_threads', cfg.get('num_threads')), ('randomness.seed', seed)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise UserError(f'{name}: must be a whole number, or None for the default, not {value!r}')
    if cfg.get('num_threads'):
        torch.set_num_threads(cfg.num_threads)
    for name in DATALOADERS:
        loader = cfg.get(name)
        if loader and not loader.get('num_workers'):
            # torch refuses what is about workers where there are none.
            loader.persistent_workers = False
            loader.pop('prefetch_factor', None)
    return cfg


def share_batch(cfg: Config) -> Config:
    """Divides the training's batch by the number of processes, in place.

    ``train_dataloader.batch_size`` is the total, as in the papers, and so the steps and the learning rate are the same
    for any number of processes. With ``auto_scale_lr=dict(enable=True)`` it is the batch of each process instead, and
    MMEngine multiplies the learning rate by total / ``base_batch_size``.

    Args:
        cfg: The config of a training.

    Returns:
        ``cfg``.

    Raises:
        UserError: If the total cannot be divided, or ``auto_scale_lr`` has no ``base_batch_size``.
    """
    world_size, loader = get_world_size(), cfg.train_dataloader
    scale = cfg.get('auto_scale_lr') or {}
    if scale.get('enable'):
        if not scale.get('base_batch_size'):
            raise UserError('auto_scale_lr: needs the batch size that the learning rate was chosen for; give '
                            '--cfg-options auto_scale_lr.base_batch_size=N')
        return cfg
    total = loader.get('batch_size', 1)
    if total % world_size:
        above = math.ceil(total / world_size) * world_size
        raise UserError(f'train_dataloader.batch_size={total}: is the total, which {world_size} processes cannot '
                        f'share; give --cfg-options train_dataloader.batch_size={above}, or '
                        'start another number of processes')
    loader.batch_size = total // world_size
    return cfg


def train(cfg: Config, work_dir: str | Path, resume: bool = False, launcher: str = 'none') -> RunResult:
    """Trains a config.

    Args:
        cfg: A config from :func:`mmwsss.config.config.load_config`. Its batch size is that of all processes together,
            see :func:`share_batch`.
        work_dir: Folder for logs and checkpoints.
        resume: Resume from the newest checkpoint in ``work_dir``, if there is one.
        launcher: How the processes were started.

    Returns:
        The last checkpoint, and the skipped files of the training data.

    Raises:
        UserError: If the training wrote no checkpoint, or a batch of one image is too small for a BatchNorm; or see
            :func:`~mmwsss.config.supervision.check_supervision`,
            :func:`~mmwsss.models.utils.normalization.check_normalization` and
            :func:`~mmwsss.engine.input_statistics.check_input_statistics`.
    """
    check_settings(cfg, 'train_dataloader', 'train_cfg', 'optim_wrapper')
    check_pretrained(cfg)
    check_supervision(cfg)
    cfg = share_batch(copy.deepcopy(prepare_run(cfg, work_dir, launcher)))
    if cfg.optim_wrapper.get('type') == 'AutocastOptimWrapper':
        warn_of_slow_amp('--amp')
    latest = find_latest_checkpoint(work_dir) if resume else None
    cfg.resume = latest is not None
    if latest is not None:
        cfg.load_from = str(latest)
    with naming_errors(work_dir):
        runner = LoggedRunner.from_cfg(cfg)
        check_normalization(unwrapped(runner.model))
        if not cfg.get('load_from'):  # it replaces the weights of init_cfg, so what their files say is of no interest
            runner.register_hook(NormalizationHook())
        if cfg.get('check_input_statistics', True):
            runner.register_hook(InputStatisticsHook())
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            loader = runner.train_loop.dataloader
            is_shared = not (cfg.get('auto_scale_lr') or {}).get('enable')
            check_batch_size(len(loader.dataset), loader.batch_size, loader.drop_last, runner.world_size, is_shared)
        try:
            runner.train()
        except ValueError as error:
            if not str(error).startswith(ONE_VALUE):
                raise
            raise UserError('train_dataloader: a batch of one image, of which a BatchNorm over whole images (such as '
                            'that of ASPP) has no variance; give --cfg-options train_dataloader.batch_size=2 or '
                            'more, and a larger data set if it has one image only') from error
    # Persistent workers would be waited for, five seconds each, whenever the garbage collector comes to them.
    runner.train_dataloader._iterator = None
    barrier()  # the main process writes the checkpoints
    checkpoint = find_latest_checkpoint(work_dir)
    if checkpoint is None:
        raise UserError(f'{work_dir}: the training wrote no checkpoint; set default_hooks.checkpoint.interval')
    return RunResult(checkpoint, skipped=_skipped(runner.train_dataloader.dataset))


def check_pretrained(cfg: Config) -> None:
    """Refuses to train a backbone whose frozen part would have random weights.

    Args:
        cfg: The config of a training.

    Raises:
        UserError: If a backbone has frozen stages, and neither ``load_from`` nor an ``init_cfg`` of its own or of a
            model around it gives it weights.
    """
    for path, backbone in backbones_of(cfg.model):
        kind = str(backbone.get('type')).split('.')[-1]
        has_weights = cfg.get('load_from') or any(part.get('init_cfg') or part.get('pretrained')
                                                  for part in _parts_on_the_way(cfg.model, path))
        if kind == 'HFBackbone' and backbone.get('model'):
            has_weights = has_weights or backbone.get('pretrained') is not False
        option = 'frozen' if backbone.get('frozen') else 'frozen_stages'
        if (backbone.get(option) or 0) > 0 and not has_weights:
            source = (f'{path}.pretrained=FOLDER' if kind == 'HFBackbone' else
                      f'{path}.init_cfg.type=StrictPretrained {path}.init_cfg.checkpoint=FILE')
            raise UserError(f'{kind}: {option}={backbone[option]}, but there are no pretrained weights; give them with '
                            f'--cfg-options {source}, or train all of it with {path}.{option}=0')


def _parts_on_the_way(model: dict, path: str) -> list[dict]:
    # The dicts from the model to what a path of backbones_of names.
    parts = [model]
    for name in path.split('.')[1:]:
        parts.append(parts[-1][int(name)] if isinstance(parts[-1], (list, tuple)) else parts[-1][name])
    return [part for part in parts if isinstance(part, dict)]


def check_settings(cfg: Config, *names: str) -> None:
    """Checks that a config has a model and some other settings.

    Raises:
        UserError: If one is missing or empty.
    """
    if missing := [name for name in ('model', *names) if not cfg.get(name)]:
        raise UserError(f'{cfg.filename or "the config"}: has no {", ".join(missing)}; name a config that has')


def test(cfg: Config, checkpoint: str | Path, work_dir: str | Path, launcher: str = 'none') -> RunResult:
    """Tests a checkpoint with the config's test loop and evaluators.

    Args:
        cfg: A config from :func:`mmwsss.config.config.load_config`.
        checkpoint: The checkpoint; it must fit the model key by key.
        work_dir: Folder for logs.
        launcher: How the processes were started.

    Returns:
        The metrics, and the skipped files of the test data.

    Raises:
        UserError: If the checkpoint belongs to another model or to other classes, or its weights to images of another
            style (:func:`~mmwsss.engine.input_statistics.check_input_statistics`).
    """
    check_settings(cfg, 'test_dataloader', 'test_cfg', 'test_evaluator')
    prepare_run(cfg, work_dir, launcher)
    if cfg.test_cfg.get('amp'):
        warn_of_slow_amp('--amp')
    cfg.load_from, cfg.resume = None, False
    for unused in ('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'val_cfg',
                   'val_dataloader', 'val_evaluator'):
        cfg.pop(unused, None)
    with naming_errors(work_dir):
        runner = LoggedRunner.from_cfg(cfg)
        dataset = runner.test_loop.dataloader.dataset
        model = load_for_inference(runner.model, checkpoint, dataset.metainfo.get('classes'))
        if cfg.get('check_input_statistics', True):
            check_input_statistics(model, dataset)
        metrics = runner.test()
    return RunResult(Path(checkpoint), {key: _json_value(value) for key, value in metrics.items()},
                     _skipped(dataset),
                     [metric.table for metric in runner.test_evaluator.metrics if getattr(metric, 'table', None)])


def _json_value(value):
    value = value.item() if hasattr(value, 'item') else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_for_inference(model: torch.nn.Module, checkpoint: str | Path,
                       classes: tuple[str, ...] | None) -> torch.nn.Module:
    """Loads a checkpoint that must fit the model and the class list.

    Args:
        model: The model, or what is wrapped around it: for test-time augmentation, for a distributed run, or both.
        checkpoint: The checkpoint file.
        classes: The class names of the data; compared with those in the checkpoint where it has some.

    Returns:
        The model inside of the wrappers.

    Raises:
        UserError: If keys or shapes differ, or if the classes differ or stand in another order (a model that is
            ``class_agnostic`` serves any).
    """
    model = unwrapped(model)
    if isinstance(model, BaseTTAModel):
        model = model.module
    check_normalization(model)
    trained = trained_classes(load_weights_strict(model, checkpoint))
    if trained and classes and not getattr(model, 'class_agnostic', False) and trained != tuple(classes):
        raise UserError(f'{checkpoint}: was trained with the classes {trained}, but the data has '
                        f'{tuple(classes)}; use the class list and the order of the training')
    return model


def _skipped(dataset) -> list[tuple[str, str]]:
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return list(getattr(dataset, 'skipped', ()))
