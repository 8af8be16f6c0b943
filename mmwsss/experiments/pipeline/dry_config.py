"""What a dry run changes in the configs that it runs, and the images that it chooses."""
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmwsss.config.config import backbones_of, merge_options
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.weight_checks import pretrained_files
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_lines

# A batch of two: a BatchNorm over whole images, such as that of ASPP, has no variance of one.
IMAGES = 2
SMALLEST_SIDE = 64
# How networks begin whose weights are not there: what ResNet38's new layers begin with, which keeps deep ones finite.
RANDOM = dict(type='Xavier', distribution='uniform', layer='Conv2d')
# Options of transforms that are sizes in pixels.
SIZES = ('crop_size', 'long_side', 'scale')


def make_dry(cfg: Config, side: int | None = None) -> list[str]:
    """Makes a config one that trains a single iteration and needs no weights, in place.

    Batches are of :data:`IMAGES` images, and losses that begin late begin at once. Steps have length 0: of random
    weights, whatever follows shall stay finite. Weights that are there are loaded; others are random.

    Args:
        cfg: The config, fitted to the data.
        side: Crops have at most this side, images are scaled as much, and CAMs are made of images no larger; ``None``:
            all sizes are the config's.

    Returns:
        The files of weights that are not there or would have to be downloaded, and the backbones with frozen stages
        that the config names no weights for.
    """
    cfg.log_level = 'WARNING'
    length = {name: 1 for name in ('max_epochs', 'max_iters') if (cfg.get('train_cfg') or {}).get(name)}
    merge_options(cfg, {f'train_cfg.{name}': value for name, value in length.items()})
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if loader := cfg.get(name):
            loader.num_workers = 0
            if name == 'train_dataloader' and loader.get('batch_size'):
                loader.batch_size = min(loader.batch_size, IMAGES)
    if optimizer := (cfg.get('optim_wrapper') or {}).get('optimizer'):
        optimizer.lr = 0.
        if optimizer.pop('momentum', None) is not None:  # a copy of all weights, of steps of length 0
            optimizer.pop('nesterov', None)
    for hook in cfg.get('custom_hooks') or ():
        if hook.get('type') == 'LossWeightScheduleHook':
            hook.begin = 0.
    if side is not None:
        _shrink(cfg, side)
    return _without_missing_weights(cfg)


def _shrink(cfg: Config, side: int) -> None:
    loader = cfg.get('train_dataloader')
    if loader:
        steps = [step for step in _dicts(loader.dataset) if 'crop_size' in step]
        crop = max((max(step['crop_size']) for step in steps), default=side)
        if crop > side:
            for step in _dicts(loader.dataset):
                for name in SIZES:
                    if step.get(name):
                        step[name] = tuple(max(1, round(size * side / crop)) for size in step[name])
            for part in _dicts(cfg.model):
                if part.get('size') and 'preprocessor' in str(part.get('type')).lower():
                    part['size'] = tuple(round(size * side / crop) for size in part['size'])
    if (cfg.get('test_cfg') or {}).get('type') == 'CAMTestLoop':
        cfg.test_cfg.max_side = min(cfg.test_cfg.get('max_side') or side, side)


def _dicts(node: Any) -> Iterable[dict]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from _dicts(item)


def _without_missing_weights(cfg: Config) -> list[str]:
    missing = []
    for key, path in list(pretrained_files(cfg)):
        if not isinstance(path, str) or not path or _is_there(path):
            continue
        missing.append(path)
        if key == 'load_from':
            cfg.load_from = None
        else:
            # Whatever loads them is replaced as a whole: weights of any part of a network are then random.
            cfg.merge_from_dict({key.rpartition('.')[0]: ConfigDict(RANDOM, _delete_=True)})
    for path, backbone in backbones_of(cfg.model):
        frozen = max(backbone.get('frozen_stages') or 0, int(bool(backbone.get('frozen'))))
        has_weights = backbone.get('init_cfg') or backbone.get('pretrained') or cfg.get('load_from')
        if frozen > 0 and not has_weights:
            missing.append(f'{path}.init_cfg')
            backbone['init_cfg'] = ConfigDict(RANDOM)
    return missing


def _is_there(path: str) -> bool:
    scheme, sign, rest = path.partition('://')
    if sign:
        return scheme == 'package' and importlib.util.find_spec(rest.partition('/')[0]) is not None
    return Path(path).is_file()


def choose_images(data: DataFolder, splits: Iterable[str], folder: Path) -> dict[str, str]:
    """Chooses the images of a dry run and writes their lists.

    Splits share what they can, the small ones first: CAMs of ``train_aug`` are then there for what reads those of
    ``train``.

    Args:
        data: The data set.
        splits: Names of splits.
        folder: Gets the lists.

    Returns:
        {split: path of its list}; no entry for a split that is not there, whose stages will say so.
    """
    found = {}
    for split in dict.fromkeys(splits):
        try:
            found[split] = data.stems(split)
        except UserError:
            continue
    images, chosen, lists = data.image_paths(), [], {}
    folder.mkdir(parents=True, exist_ok=True)
    for split in sorted(found, key=lambda name: len(found[name])):
        there = [stem for stem in found[split] if stem in images]
        own = set(there)
        before = [stem for stem in chosen if stem in own]
        stems = [*before, *(stem for stem in there if stem not in chosen)][:IMAGES]
        chosen += [stem for stem in stems if stem not in chosen]
        lists[split] = str((folder / f'{Path(split).stem}.txt').resolve())
        write_lines(lists[split], stems)
    return lists
