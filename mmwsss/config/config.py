"""Loading a config for a tool: data root, class list and command line options."""
import argparse
import difflib
import inspect
import logging
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError

# The heads whose classes are those of the data.
MAIN_HEADS = ('cam_head', 'decode_head')
# What a config of a run may set: the arguments of MMEngine's Runner, and what is read besides.
SETTINGS = (*inspect.signature(Runner).parameters, 'model_wrapper_cfg', 'sync_bn', 'find_unused_parameters',
            'custom_imports', 'data_root', 'classes', 'num_threads', 'tta_model', 'tta_pipeline', 'test_postprocessors')
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


class CfgOptions(DictAction):
    """``KEY=VALUE ...`` of ``--cfg-options`` as a dict; what is none ends as argparse's other mistakes do."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list[str],
                 option_string: str | None = None) -> None:
        """Puts the dict into the namespace."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError) as error:
            parser.error(f'{option_string} {" ".join(values)}: must be KEY=VALUE, with closed brackets ({error})')
        except RecursionError:
            parser.error(f'{option_string} {" ".join(values)}: a VALUE is of numbers, words, lists and tuples; for '
                         'anything else, such as dicts, write a config that inherits this one')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that every tool with a config takes: data root, config options, launcher."""
    parser.add_argument('--data-root', help="folder of the data set; replaces the config's data_root")
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help='settings that override the config, e.g. train_cfg.max_epochs=5')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how the processes of a distributed run were started')
    # torch.distributed.launch passes it; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def read_config(path: str | Path) -> Config:
    """Reads a config file.

    Args:
        path: A config, or a file of settings such as those for post-processing.

    Returns:
        The config, with the modules in its ``custom_imports`` imported.

    Raises:
        UserError: If the file is missing or is no config.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{path}: no such config file')
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config is a program: anything may be raised in it
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f' in {last.filename}:{last.lineno}' if last.name == '<module>' else ''
        reason = (str(error).splitlines() or [''])[0]
        raise UserError(f'{path}: cannot be read as a config ({type(error).__name__}: {reason}{place})') from error


def load_config(path: str | Path, data_root: str | None = None, cfg_options: dict | None = None) -> Config:
    """Loads a config and fits it to a data set.

    Args:
        path: The config file.
        data_root: Replaces ``data_root`` of every data set in the config.
        cfg_options: Settings that override the config's, with dotted keys.

    Returns:
        The config; every ``num_classes=None`` in the model is replaced by the number of classes of the data.

    Raises:
        UserError: If the file is missing or is no config, or if its classes do not fit the data.
    """
    cfg = read_config(path)
    merge_options(cfg, cfg_options)
    if cfg.get('model') is None:
        raise UserError(f'{path}: has no model; this is not the config of a training or a test')
    return fit_to_data(cfg, data_root)


def merge_options(cfg: Config, cfg_options: dict | None, known: Collection[str] = SETTINGS) -> Config:
    """Overrides settings of a config, in place.

    A schedule that ended with the training goes on to do so when ``train_cfg.max_epochs`` (or ``max_iters``) is
    overridden.

    Args:
        cfg: The config.
        cfg_options: Settings with dotted keys.
        known: Names of settings that the config may have, besides those that it has.

    Returns:
        ``cfg``.

    Raises:
        UserError: If a key leads through something that is no dict or list, or begins with an unknown name, or if a
            dict would be replaced by something else.
    """
    if not cfg_options:
        return cfg
    for key, value in cfg_options.items():
        name = key.split('.')[0]
        if name not in cfg and name not in known:
            closest = difflib.get_close_matches(name, {*cfg, *known}, n=1, cutoff=0)[0]
            raise UserError(f'--cfg-options {key}: there is no setting {name!r} (closest: {closest!r})')
        if isinstance(cfg.get(key), dict) and value is not None and not isinstance(value, dict):
            raise UserError(f'--cfg-options {key}={value}: is a dict in the config; name one of its settings, as '
                            f'{key}.NAME=VALUE')
    before = dict(cfg.get('train_cfg') or {})
    try:
        cfg.merge_from_dict(cfg_options)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UserError(f'--cfg-options {" ".join(cfg_options)}: does not fit the config ({error})') from error
    after = cfg.get('train_cfg') or {}
    for length, by_epoch in (('max_epochs', True), ('max_iters', False)):
        if before.get(length) is None or after.get(length) == before[length] or 'param_scheduler' in cfg_options:
            continue
        schedulers = cfg.get('param_scheduler') or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            if scheduler.get('by_epoch', True) == by_epoch and scheduler.get('end') == before[length]:
                scheduler.end = after.get(length)
    return cfg


def fit_to_data(cfg: Config, data_root: str | None = None) -> Config:
    """Sets data root, class list, seed and number of classes throughout a config, in place.

    Args:
        cfg: A config of a training or a test.
        data_root: See :func:`load_config`. ``None`` keeps the config's.

    Returns:
        ``cfg``.

    Raises:
        UserError: See :func:`load_config`.
    """
    if data_root is not None:
        cfg.data_root = str(data_root)
    seed = cfg.get('randomness', {}).get('seed')
    for dataset in datasets_of(cfg):
        if 'data_root' in dataset:
            if data_root is not None:
                dataset.data_root = str(data_root)
            if not Path(dataset.data_root).is_dir():
                raise UserError(f'{dataset.data_root}: no such folder; name the data set with --data-root')
        if cfg.get('classes') is not None and _is_ours(dataset):
            dataset.classes = cfg.classes
    train_loader = cfg.get('train_dataloader')
    if train_loader and _is_ours(train_loader.dataset):
        # Augmentation then depends on (seed, epoch, index) alone, see ImageLabelDataset. Not so below a wrapper: one
        # that repeats images would repeat their augmentation too.
        train_loader.dataset.setdefault('seed', seed)
    elif train_loader:
        print_log(f'{train_loader.dataset.type} is not seeded per sample: a resumed training augments in another way',
                  logger='current', level=logging.WARNING)
    if cfg.get('model') is not None:
        fill_num_classes(cfg.model, num_classes(cfg))
    return cfg


def backbones_of(model: Any, path: str = 'model') -> Iterator[tuple[str, dict]]:
    """Yields dotted path and config of every backbone in a model's config, those of models inside it included."""
    if isinstance(model, (list, tuple)):
        for i, item in enumerate(model):
            yield from backbones_of(item, f'{path}.{i}')
    elif isinstance(model, dict):
        for key, value in model.items():
            if key == 'backbone' and isinstance(value, dict):
                yield f'{path}.backbone', value
            else:
                yield from backbones_of(value, f'{path}.{key}')


def set_backbone_weights(model: ConfigDict, weights: str | Path) -> None:
    """Makes a file the initial weights of every backbone of a model, in place.

    Args:
        model: The model's config.
        weights: A file that fits the backbone key by key.
    """
    for _, backbone in backbones_of(model):
        backbone['init_cfg'] = dict(type='StrictPretrained', checkpoint=str(weights))


def datasets_of(cfg: Config) -> Iterator[ConfigDict]:
    """Yields the config of every data set of the config's dataloaders, wrapped ones included."""
    for name in DATALOADERS:
        loader = cfg.get(name)
        stack = [loader.dataset] if loader else []
        while stack:
            dataset = stack.pop()
            yield dataset
            inner = [dataset.get('dataset'), *(dataset.get('datasets') or ())]
            stack.extend(d for d in inner if d)


def _is_ours(dataset: ConfigDict) -> bool:
    # Data sets that resolve classes from the data root take `classes` and `seed`.
    return getattr(DATASETS.get(dataset.type), 'RESOLVES_CLASSES', False)


def num_classes(cfg: Config) -> int | None:
    """Returns how many classes the config's first data set has.

    Background counts in the segmentation stage, where it is a class, and not in the CAM stage.

    Args:
        cfg: A config with at least one dataloader.

    Returns:
        The number, or ``None`` when the data set does not tell before it is built.
    """
    for dataset in datasets_of(cfg):
        cls = DATASETS.get(dataset.type)
        if getattr(cls, 'RESOLVES_CLASSES', False):
            names = cls.resolve_classes(dataset.data_root, dataset.get('classes'))
            return len(names) + bool(cls.WITH_BACKGROUND)
        names = (dataset.get('metainfo') or {}).get('classes') or getattr(cls, 'METAINFO', {}).get('classes')
        if names:
            return len(names)
    return None


def fill_num_classes(model: Any, count: int | None) -> None:
    """Replaces every ``num_classes=None`` in a model's config, in place.

    Args:
        model: The model's config (nested dicts and lists).
        count: The number of classes of the data; ``None`` leaves everything as it is.

    Raises:
        UserError: If the config gives the CAM head or the decode head another number than the data has. Other
            parts may have classes of their own.
    """
    if isinstance(model, (list, tuple)):
        for item in model:
            fill_num_classes(item, count)
    if not isinstance(model, dict) or count is None:
        return
    if 'num_classes' in model and model['num_classes'] is None:
        model['num_classes'] = count
    for key, value in model.items():
        given = value.get('num_classes') if key in MAIN_HEADS and isinstance(value, dict) else None
        if given is not None and given != count:
            raise UserError(f'{key}: num_classes={given} in the config, but the data has {count} classes; leave '
                            'num_classes=None to take it from the data')
        fill_num_classes(value, count)
