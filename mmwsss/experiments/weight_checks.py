"""Whether the weights that a training or test begins with are there and fit, before anything runs."""
import copy
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import initialize
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample
from torch import nn

from mmwsss.apis.runner import load_for_inference
from mmwsss.config.config import innermost
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.engine.checkpoint import extract_state_dict, fetch_checkpoint, load_checkpoint
from mmwsss.engine.input_statistics import check_input_statistics
from mmwsss.models.utils.normalization import check_normalization
from mmwsss.registry import DATASETS, MODELS
from mmwsss.structures.image_file import read_image
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import sha256_of_json
from mmwsss.utils.package_file import PACKAGE_SCHEME, package_file

# Where networks are that are not trained, each built when its first image comes.
HOOKS = 'inference_hooks'
# Images that are looked at for the style of weights.
IMAGES = 4
# What has been found to fit in this process: the trainings of a study differ by their seeds, not by their weights.
_fitting: set[str] = set()


def check_weights(cfg: Config) -> None:
    """Checks that the files of all pretrained weights are there; what lies on a server is downloaded into the cache.

    Args:
        cfg: The config of a training or a test.

    Raises:
        UserError: For a file, or a package with one, that is missing, or a download that fails.
    """
    for key, path in pretrained_files(cfg):
        if not isinstance(path, str) or not path:
            continue
        if path.startswith(PACKAGE_SCHEME):
            try:
                package_file(path)
            except UserError as error:
                raise UserError(f'{error}, or name other weights with --weights or {key}=FILE') from error
        elif '://' in path:
            fetch_checkpoint(path, advice=f'get the file by other means, and name it with --weights or {key}=FILE')
        elif not os.path.isfile(path):
            raise UserError(f'{path}: no such file of weights; name them with --weights or {key}=FILE')


def pretrained_files(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and the value of every setting of a config that names pretrained weights."""
    yield 'load_from', cfg.get('load_from')
    yield from _checkpoints(cfg.model, 'model')


def _checkpoints(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == 'checkpoint' and 'Pretrained' in str(node.get('type')):
                yield f'{path}.{key}', value
            else:
                yield from _checkpoints(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _checkpoints(item, f'{path}.{number}')


def check_training_weights(cfg: Config, data: DataFolder, split: str | None) -> None:
    """Loads the pretrained weights of a training as it will load them, and looks whether the images suit them.

    The model is built, every ``init_cfg`` that names a file is run on its part of it, the data preprocessor is compared
    with what the files say of their images (:func:`mmwsss.models.utils.normalization.check_normalization`), and some
    images of the split are normalised and compared with the statistics of the first BatchNorms
    (:func:`mmwsss.engine.input_statistics.check_input_statistics`). ``load_from``, which MMEngine loads as far as it
    fits and in place of the others, is only read.

    Args:
        cfg: The config of a training, whose files are there (:func:`check_weights`). An empty name of a file stands for
            one that is not made yet.
        data: The data.
        split: The images that are trained on; ``None``: all.

    Raises:
        UserError: If a file is damaged, does not fit its network, or belongs to images of another style.
    """
    model = copy.deepcopy(cfg.model)
    model.pop(HOOKS, None)
    named = [path for _, path in pretrained_files(Config(dict(model=model, load_from=cfg.get('load_from')))) if path]
    if not named:
        return
    images = _some_images(data, split)
    state = sha256_of_json([model.to_dict(), cfg.get('load_from'), cfg.get('check_input_statistics', True), images,
                            [_state_of(path) for path in named]])
    if state in _fitting:
        return
    if cfg.get('load_from'):
        extract_state_dict(load_checkpoint(cfg.load_from), cfg.load_from)
    init_default_scope(cfg.get('default_scope', 'mmwsss'))
    with torch.random.fork_rng(devices=[]):
        built = MODELS.build(model)
        _load_pretrained(built)
        if not cfg.get('load_from'):
            check_normalization(built)
            if cfg.get('check_input_statistics', True):
                check_input_statistics(built, _Photos(images), IMAGES)
    _fitting.add(state)


def check_hook_weights(cfg: Config) -> None:
    """Loads the weights of the second networks of a model's inference hooks, which nothing else does before an image.

    Args:
        cfg: The config of a CAM model.

    Raises:
        UserError: If a file is missing, damaged or does not fit its network.
    """
    hooks = Config(dict(model=ConfigDict({HOOKS: cfg.model.get(HOOKS) or []})))
    check_weights(hooks)
    init_default_scope(cfg.get('default_scope', 'mmwsss'))
    for network in _networks(hooks.model):
        if any(path for _, path in _checkpoints(network.init_cfg, '')):
            with torch.random.fork_rng(devices=[]):
                _load_pretrained(MODELS.build(copy.deepcopy(network)))


def check_checkpoint(cfg: Config, checkpoint: str, classes: Sequence[str]) -> None:
    """Loads the checkpoint of a test or of making CAMs, as that will load it.

    Args:
        cfg: The config.
        checkpoint: The file.
        classes: The foreground classes of the data.

    Raises:
        UserError: If it is damaged, or of another model or other classes.
    """
    cls = DATASETS.get(innermost(cfg.test_dataloader.dataset).type)
    names = ('background', *classes) if getattr(cls, 'WITH_BACKGROUND', False) else tuple(classes)
    init_default_scope(cfg.get('default_scope', 'mmwsss'))
    with torch.random.fork_rng(devices=[]):
        load_for_inference(MODELS.build(copy.deepcopy(cfg.model)), checkpoint,
                           names if getattr(cls, 'RESOLVES_CLASSES', False) else None)


def _load_pretrained(network: nn.Module) -> None:
    """Runs the initialisers of a network that load a file, as its ``init_weights`` will do, and no other ones."""
    for module in network.modules():
        given = getattr(module, 'init_cfg', None) or ()
        for init_cfg in given if isinstance(given, (list, tuple)) else [given]:
            if 'Pretrained' in str(init_cfg.get('type')) and init_cfg.get('checkpoint'):
                initialize(module, init_cfg)


def _networks(node: Any) -> Iterator[ConfigDict]:
    """Yields the configs below a node that have an ``init_cfg``, the outermost ones."""
    if isinstance(node, dict) and node.get('init_cfg'):
        yield node
    elif isinstance(node, (dict, list, tuple)):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _networks(item)


def _state_of(path: str) -> list[Any]:
    if not os.path.isfile(path):
        return [path]
    status = os.stat(path)
    return [path, status.st_size, status.st_mtime_ns]


def _some_images(data: DataFolder, split: str | None) -> list[str]:
    """Returns paths of some images, evenly spread over a split."""
    images = data.image_paths()
    there = [images[stem] for stem in data.stems(split) if stem in images]
    return [there[len(there) * i // IMAGES] for i in range(IMAGES)] if there else []


class _Photos:
    """Images as a data set gives them, without augmentation; of those that are damaged nothing."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            image = read_image(self.paths[index])
        except UserError:  # the training leaves it out, and says so
            return {}
        pixels = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
        return dict(inputs=torch.from_numpy(pixels), data_samples=SegDataSample(metainfo=dict(
            ori_shape=pixels.shape[1:])))
