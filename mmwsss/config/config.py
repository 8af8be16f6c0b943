"""Loading a config for a tool: data root, class list and command line options."""
import copy
import inspect
import logging
import traceback
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmwsss.config.cfg_options import fit_value
from mmwsss.config.find import find_config
from mmwsss.config.option_names import check_names, part_class
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError

# The heads whose classes are those of the data.
MAIN_HEADS = ('cam_head', 'decode_head')
# What a config of a run may set: the arguments of MMEngine's Runner, and what is read besides.
SETTINGS = (*inspect.signature(Runner).parameters, 'model_wrapper_cfg', 'sync_bn', 'find_unused_parameters',
            'custom_imports', 'data_root', 'classes', 'num_threads', 'tta_model', 'tta_pipeline', 'test_postprocessors',
            'full_supervision', 'init_is_trained', 'check_input_statistics')
# What the settings of a config that are no part of anything take.
PLAIN_SETTINGS = dict(data_root=str, load_from=str, work_dir=str, experiment_name=str, resume=bool, num_threads=int,
                      full_supervision=bool, check_input_statistics=bool, classes=list[str])
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def read_config(path: str | Path) -> Config:
    """Reads a config file.

    Args:
        path: A config, or a file of settings such as those for post-processing: its path, or its name in the package,
            see :func:`~mmwsss.config.find.find_config`.

    Returns:
        The config, with the modules in its ``custom_imports`` imported.

    Raises:
        UserError: If the file is missing or is no config.
    """
    path = find_config(path)
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config is a program: anything may be raised in it
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f' in {last.filename}:{last.lineno}' if last.name == '<module>' else ''
        reason = (str(error).splitlines() or [''])[0] + _cause(error)
        raise UserError(f'{path}: cannot be read as a config ({type(error).__name__}: {reason}{place})') from error


def _cause(error: BaseException) -> str:
    # Of a failed custom_imports MMEngine says only that, twice over.
    first = error
    while first.__cause__ or first.__context__:
        first = first.__cause__ or first.__context__
    if first is error or not isinstance(error, ImportError):
        return ''
    frames = [frame for frame in traceback.extract_tb(first.__traceback__) if '<frozen' not in frame.filename]
    reason = (str(first).splitlines() or [''])[0]
    return f'; the cause: {type(first).__name__}: {reason} in {frames[-1].filename}:{frames[-1].lineno}'


def load_config(path: str | Path, data: DataFolder | str | Path | None = None,
                cfg_options: dict | None = None) -> Config:
    """Loads a config and fits it to a data set.

    Args:
        path: The config file, or its name in the package.
        data: Replaces the data of every data set in the config, whose type becomes that of its layout: a
            :class:`~mmwsss.datasets.DataFolder`, or the path of its root. Of a folder of images without lists of
            splits all images are used, whatever the config's split is called.
        cfg_options: Settings that override the config's, with dotted keys.

    Returns:
        The config; every ``num_classes=None`` in the model is replaced by the number of classes of the data.

    Raises:
        UserError: If the file is missing or is no config, or if its classes do not fit the data.
    """
    cfg = read_config(path)
    merge_options(cfg, cfg_options)
    if cfg.get('model') is None:
        for name, kind in (('stages', 'pipeline'), ('rows', 'study')):
            if name in cfg:
                raise UserError(f'{path}: is a {kind}; use mmwsss {kind}')
        raise UserError(f'{path}: has no model; this is not the config of a training or a test')
    return fit_to_data(cfg, data)


def merge_options(cfg: Config, cfg_options: dict | None, known: Collection[str] = SETTINGS) -> Config:
    """Overrides settings of a config, in place.

    A schedule that ended with the training goes on to do so when ``train_cfg.max_epochs`` (or ``max_iters``) is
    overridden.

    Args:
        cfg: The config.
        cfg_options: Settings with dotted keys. Those of a command line
            (:class:`~mmwsss.config.cfg_options.ParsedOptions`) get the type that the config's setting has. A key that
            ends a list (``custom_hooks.3.type`` of a list of three) adds to it.
        known: Names of settings that the config may have, besides those that it has.

    Returns:
        ``cfg``.

    Raises:
        UserError: If a key leads through something that is no dict or list, or has an unknown name
            (:func:`~mmwsss.config.option_names.check_names`), or if a dict would be replaced by something else, or a
            setting by what it does not take.
    """
    if not cfg_options:
        return cfg
    check_names(cfg, cfg_options, known)
    for key, value in cfg_options.items():
        if isinstance(cfg.get(key), dict) and value is not None and not isinstance(value, dict):
            raise UserError(f'--cfg-options {key}={value}: is a dict in the config; name one of its settings, as '
                            f'{key}.NAME=VALUE')
    before = dict(cfg.get('train_cfg') or {})
    backends = copy.deepcopy(cfg.get('vis_backends'))
    try:
        for key in cfg_options:
            _extend_list(cfg, key)
        # In two steps: the type of a part may be among the options itself.
        texts = getattr(cfg_options, 'texts', {})
        cfg.merge_from_dict({key: value for key, value in cfg_options.items() if key.endswith('.type')})
        for key, value in cfg_options.items():
            if not key.endswith('.type'):
                _set_option(cfg, key, _fitted(cfg, key, value, texts[key]) if key in texts else value)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UserError(f'--cfg-options {" ".join(cfg_options)}: does not fit the config ({error})') from error
    if backends != cfg.get('vis_backends') and (cfg.get('visualizer') or {}).get('vis_backends') == backends:
        cfg.visualizer.vis_backends = cfg.vis_backends  # configs write them once, and mean them there
    after = cfg.get('train_cfg') or {}
    for length, by_epoch in (('max_epochs', True), ('max_iters', False)):
        if before.get(length) is None or after.get(length) == before[length] or 'param_scheduler' in cfg_options:
            continue
        schedulers = cfg.get('param_scheduler') or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            if scheduler.get('by_epoch', True) == by_epoch and scheduler.get('end') == before[length]:
                scheduler.end = after.get(length)
    return cfg


def _extend_list(cfg: Config, key: str) -> None:
    """Adds a place to the list that a key goes one beyond the end of."""
    node, names = cfg, key.split('.')
    for name, following in zip(names, [*names[1:], None]):
        if isinstance(node, list) and name.isdigit():
            if int(name) > len(node):
                raise UserError(f'--cfg-options {key}: the list has {len(node)} items, so the next one is number '
                                f'{len(node)}')
            if int(name) == len(node):
                node.append(None if following is None else ConfigDict())
            node = node[int(name)]
        elif isinstance(node, (dict, Config)):
            node = node.get(name)
        else:
            return


def _parent(cfg: Config, key: str) -> Any:
    parent = cfg
    for step in key.split('.')[:-1]:
        parent = parent[int(step)] if isinstance(parent, (list, tuple)) else (parent or {}).get(step)
    return parent


def _set_option(cfg: Config, key: str, value: Any) -> None:
    parent, name = _parent(cfg, key), key.rpartition('.')[2]
    if isinstance(parent, list) and name.isdigit() and not isinstance(value, dict):
        parent[int(name)] = value  # MMEngine merges dicts only
    else:
        cfg.merge_from_dict({key: value})


def _fitted(cfg: Config, key: str, value: Any, text: str) -> Any:
    """Gives a value of the command line the type that its setting has."""
    parent, name = _parent(cfg, key), key.rpartition('.')[2]
    if isinstance(parent, (list, tuple)):
        return fit_value(key, value, text, parent[int(name)])
    current = (parent or {}).get(name)
    if parent is cfg and name in PLAIN_SETTINGS:
        return fit_value(key, value, text, current, PLAIN_SETTINGS)
    return fit_value(key, value, text, current, part_class((parent or {}).get('type')))


def fit_to_data(cfg: Config, data: DataFolder | str | Path | None = None) -> Config:
    """Sets data set, class list, seed and number of classes throughout a config, in place.

    Args:
        cfg: A config of a training or a test.
        data: See :func:`load_config`. ``None`` keeps the config's.

    Returns:
        ``cfg``.

    Raises:
        UserError: See :func:`load_config`.
    """
    if data is not None:
        data = DataFolder.find(data)
        cfg.data_root = str(data.root)
        if data.class_list is not None:
            cfg.classes = list(data.class_list)
        for name in DATALOADERS:
            if cfg.get(name):
                cfg[name].dataset = data.dataset_config(cfg[name].dataset)
    seed = cfg.get('randomness', {}).get('seed')
    for dataset in datasets_of(cfg):
        if 'data_root' in dataset:
            if data is not None:
                dataset.data_root = str(data.root)
            if not Path(dataset.data_root).is_dir():
                raise UserError(f'{dataset.data_root}: no such folder; name the data set with --data-root')
        if not is_ours(dataset):
            continue
        if cfg.get('classes') is not None and (data is None or data.class_list is None):
            dataset.classes = cfg.classes
        # The name of a split, in a config for VOC layout.
        is_name = bool(dataset.get('split')) and Path(dataset.split).suffix != '.txt'
        if is_name and data is not None and data.layout == 'folder' and not data.splits():
            dataset.split = None
    train_loader = cfg.get('train_dataloader')
    if train_loader and is_ours(train_loader.dataset):
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
    """Yields dotted path and config of every backbone in a model's config, those of models inside it included.

    A second network of an inference hook is no part of the model: it is not trained, and its weights are its own.
    """
    if isinstance(model, (list, tuple)):
        for i, item in enumerate(model):
            yield from backbones_of(item, f'{path}.{i}')
    elif isinstance(model, dict):
        for key, value in model.items():
            if key == 'backbone' and isinstance(value, dict):
                yield f'{path}.backbone', value
            elif key != 'inference_hooks':
                yield from backbones_of(value, f'{path}.{key}')


def set_backbone_weights(model: ConfigDict, weights: str | Path) -> None:
    """Makes a file the initial weights of every backbone of a model, in place.

    Args:
        model: The model's config.
        weights: A file that fits the backbone key by key.
    """
    for _, backbone in backbones_of(model):
        backbone['init_cfg'] = dict(type='StrictPretrained', checkpoint=str(weights))


def scale_lr_by_batch(cfg: Config, batch_size: int) -> None:
    """Makes the batch of a training that of each process, and its learning rate grow with their total, in place.

    Args:
        cfg: The config of a training; its ``auto_scale_lr.base_batch_size`` is what the rate was chosen for.
        batch_size: What the rate was chosen for where the config does not tell: the batch of the config file.
    """
    cfg.auto_scale_lr = {'base_batch_size': batch_size, **(cfg.get('auto_scale_lr') or {}), 'enable': True}


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


def innermost(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the config of the data set inside wrappers, or the data set's own."""
    while dataset.get('dataset'):
        dataset = dataset['dataset']
    return dataset


def is_ours(dataset: Mapping[str, Any]) -> bool:
    """Returns whether a config is of a data set of mmwsss, which takes `classes` and `seed`."""
    kind = dataset['type']
    return getattr(DATASETS.get(kind) if isinstance(kind, str) else kind, 'RESOLVES_CLASSES', False)


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
            if hasattr(cls, 'resolve_classes'):  # a layout of its own, such as ILSVRC's
                return len(cls.resolve_classes(dataset.data_root, dataset.get('classes')))
            return len(DataFolder.of_dataset(dataset).classes) + bool(cls.WITH_BACKGROUND)
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
