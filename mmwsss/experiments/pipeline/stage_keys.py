"""What a stage depends on: the parts of its config, and the files of the data set."""
from typing import Any

from mmengine.config import Config, ConfigDict

from mmwsss.apis.cam_files import cam_config_hash
from mmwsss.config.config import innermost
from mmwsss.config.weight_files import model_as_tested, with_weights
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.pipeline.stage import StageContext
from mmwsss.registry import DATASETS

# Settings of a dataloader and its data set that do not change what a stage computes. Where the data lies does not
# matter either: its files are in the fingerprint.
IRRELEVANT = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'data_root', 'img_dir', 'seg_dir',
              'mask_dir', 'saliency_dir', 'ann_dir', 'label_file', 'split')


def config_parts(cfg: Config, stage_type: str) -> dict[str, Any]:
    """Returns the part of a config that decides the result of a stage.

    Args:
        cfg: The config.
        stage_type: ``'train'``, ``'make_cam'``, ``'refine_cam'`` or ``'test'``.

    Returns:
        What may stand in json. Weights count by the content of their file, not by its path. The number of processes
        does not count: they share the batch, which is a total.
    """
    if stage_type in ('make_cam', 'refine_cam'):
        return dict(hash=cam_config_hash(cfg))
    model = cfg.model.to_dict()
    if stage_type == 'test':
        views = {name: _relevant(cfg.to_dict().get(name)) for name in ('tta_model', 'tta_pipeline')}
        return dict(model=model_as_tested(model), loader=_relevant(cfg.test_dataloader.to_dict()),
                    loop=cfg.test_cfg.to_dict(), evaluator=cfg.test_evaluator, views=views)
    for unused in ('inference_hooks', 'test_cfg', 'random_walk'):
        model.pop(unused, None)
    parts = {name: cfg.get(name) for name in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'randomness',
                                              'custom_hooks', 'find_unused_parameters', 'load_from')}
    scale = cfg.get('auto_scale_lr') or {}
    if scale.get('enable'):  # of no effect otherwise
        parts['auto_scale_lr'] = scale
    return with_weights(dict(parts, model=model, loader=_relevant(cfg.train_dataloader.to_dict())))


def dataset_key(dataset: ConfigDict, split: str, context: StageContext, labels_made: bool = False) -> str:
    """Returns the digest of what a data set of a config reads of a split.

    Args:
        dataset: Its config; of a wrapper, that of the data set inside counts.
        split: The images.
        context: The stage's.
        labels_made: Whether its masks are the output of another stage.

    Returns:
        A digest of the images, of the image-level labels or masks that they are trained with, and of their saliency
        maps where these are required.
    """
    dataset = innermost(dataset)
    cls = DATASETS.get(dataset.type)
    if not getattr(cls, 'RESOLVES_CLASSES', False):
        return context.fingerprint(split, ('images', 'masks'), None)
    parts = ['images']
    if not getattr(cls, 'WITH_BACKGROUND', False):
        parts.append('labels')
    elif not labels_made:
        parts.append('masks')
    if dataset.get('require_saliency'):
        parts.append('saliency')
    return context.fingerprint(split, parts, DataFolder.of_dataset(dataset))


def _relevant(node: Any) -> Any:
    """Leaves out :data:`IRRELEVANT` keys at every depth."""
    if isinstance(node, dict):
        return {key: _relevant(value) for key, value in node.items() if key not in IRRELEVANT}
    if isinstance(node, (list, tuple)):
        return [_relevant(item) for item in node]
    return node
