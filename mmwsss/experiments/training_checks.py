"""What can be known of a training before it runs: whether its images, weights and saliency maps are there."""
import copy
import logging

from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from mmwsss.apis.runner import check_pretrained, share_batch
from mmwsss.config.config import innermost
from mmwsss.datasets.checks import check_batch_size
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.datasets.layout import MAP_EXTENSIONS, describe_split, find_files, find_files_anywhere
from mmwsss.datasets.mask_checks import check_masks_there
from mmwsss.experiments.weight_checks import check_training_weights, check_weights
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError


def check_training(cfg: Config, data: DataFolder, split: str | None) -> None:
    """Checks what a training needs, with no more decoded images than tell the style of its weights.

    Args:
        cfg: The config, fitted to the data.
        data: The data.
        split: The images that are trained on; ``None``: all.

    Raises:
        UserError: If the split has no image or less than a batch, if the processes cannot share the batch, if weights
            are missing or do not fit, or if required masks or all required saliency maps are missing.
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
        check_batch_size(len(data.stems_with_image(split)), loader.batch_size, loader.get('drop_last', False),
                         get_world_size(), is_shared)
    if dataset.get('require_saliency'):
        check_saliency(DataFolder.of_dataset(dataset), split)
    check_masks(dataset, split)
    if cfg.get('val_cfg') and (validated := cfg.get('val_dataloader')):
        check_masks(innermost(validated.dataset), innermost(validated.dataset).get('split'))
    check_training_weights(cfg, data, split)  # the last, as it takes longest


def check_saliency(data: DataFolder, split: str | None) -> None:
    """Refuses a split without any saliency map, and warns of the images that have none.

    Args:
        data: The data, with the folder of its saliency maps.
        split: The images; ``None``: all.

    Raises:
        UserError: If no image of the split has one.
    """
    stems, there = data.stems_with_image(split), data.saliency_paths()
    without = [stem for stem in stems if stem not in there]
    if len(without) == len(stems):
        raise UserError(f'{data.saliency_path}: has no saliency map of {describe_split(split)}, but the config '
                        'requires them; make them with mmwsss saliency')
    if without:
        print_log(f'{data.saliency_path}: {len(without)} of {len(stems)} images of {describe_split(split)} have no '
                  f'saliency map and will be left out, e.g. {without[0]}; mmwsss saliency makes them', 'current',
                  level=logging.WARNING)


def check_masks(dataset: ConfigDict, split: str | None) -> None:
    """Refuses a data set of which an image has no mask, where every image needs one.

    Args:
        dataset: Config of a data set; one that is not ours, reads image-level labels, or leaves such images out, is
            not looked at.
        split: The images; ``None``: all.

    Raises:
        UserError: If masks are missing; it names some.
    """
    cls = DATASETS.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    has_masks = getattr(cls, 'RESOLVES_CLASSES', False) and getattr(cls, 'WITH_BACKGROUND', False)
    if not has_masks or dataset.get('missing_mask', 'error') != 'error':
        return
    data = DataFolder.of_dataset(dataset)
    masks = {}
    if data.masks_path.is_dir():  # as the data set itself looks
        masks = (find_files_anywhere if dataset.get('recursive') else find_files)(data.masks_path, MAP_EXTENSIONS)
    check_masks_there([stem for stem in data.stems_with_image(split) if stem not in masks], data.masks_path)
