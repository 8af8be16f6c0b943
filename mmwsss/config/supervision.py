"""What a segmentor is trained on: pseudo labels, unless the ground truth is asked for by name."""
from pathlib import Path

from mmengine.config import Config

from mmwsss.config.config import datasets_of
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import UserError

# Where the two layouts have ground truth masks.
MASK_DIRS = ('SegmentationClass', 'masks')


def check_supervision(cfg: Config) -> None:
    """Refuses to train a segmentor on ground truth masks that nobody asked for.

    In weakly supervised segmentation that is a mistake which no figure shows: it only gives better ones.

    Args:
        cfg: The config of a training. ``full_supervision=True`` in it asks for the ground truth.

    Raises:
        UserError: If the training data has its masks from ``SegmentationClass`` or ``masks`` below the data root, or
            from where the test data has them.
    """
    if cfg.get('full_supervision') or not cfg.get('train_dataloader'):
        return
    evaluated = Config(dict(val_dataloader=cfg.get('val_dataloader'), test_dataloader=cfg.get('test_dataloader')))
    truth = {_mask_dir(dataset) for dataset in datasets_of(evaluated)}
    for dataset in datasets_of(Config(dict(train_dataloader=cfg.train_dataloader))):
        folder = _mask_dir(dataset)
        if folder is None:
            continue
        if folder in truth or folder in {Path(dataset.data_root, name).resolve() for name in MASK_DIRS}:
            raise UserError(f'{folder}: are the ground truth masks; name the folder of the pseudo labels with --labels '
                            'DIR (train_dataloader.dataset.seg_dir), or say --full-supervision (full_supervision=True '
                            'in the config) to train on the masks')


def _mask_dir(dataset: dict) -> Path | None:
    # Ours with masks as labels: others have names of their own for the folder.
    cls = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
    if not getattr(cls, 'WITH_BACKGROUND', False) or not getattr(cls, 'RESOLVES_CLASSES', False):
        return None
    return Path(dataset.get('data_root') or '.', dataset.get('seg_dir') or MASK_DIRS[0]).resolve()
