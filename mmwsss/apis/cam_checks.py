"""What is checked before CAM files are made or refined, so that a mistake leaves nothing behind."""
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmwsss.registry import METRICS
from mmwsss.structures.cam_file import read_manifest
from mmwsss.structures.settings_folder import MANIFEST_NAME
from mmwsss.utils.errors import UserError


def cam_loaders(cfg: Config) -> list[dict]:
    """Returns the ``LoadCAM`` steps of a config's test pipeline: a model that refines CAMs has some."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    return [step for step in dataset.get('pipeline') or () if step.get('type') == 'LoadCAM']


def check_refinement(source_dir: str | os.PathLike, out_dir: str | os.PathLike, label_writer: dict,
                     classes: Sequence[str]) -> None:
    """Refuses to refine CAMs of other classes, and to take a folder of other label maps for its own.

    Every rank may call it at the same time, before the folder of the refined CAM files is opened: what is wrong with
    the settings of the label maps must not show when its manifest holds them.

    Args:
        source_dir: Folder of the CAM files to refine.
        out_dir: Folder of the refined CAM files.
        label_writer: Config of what writes the label maps, in METRICS, with ``out_dir``.
        classes: Names of the foreground classes of the data.

    Raises:
        UserError: If the CAMs are of other classes or of another order, if there are label maps without refined CAM
            files, which would be removed as outdated, or if the label maps cannot be made as ``label_writer`` says.
    """
    found = read_manifest(source_dir).classes
    if found != tuple(classes):
        raise UserError(f'{Path(source_dir, MANIFEST_NAME)}: the CAMs are of the classes {list(found)}, but the data '
                        f'has {list(classes)}; give the right data, or make the CAMs again')
    labels = Path(label_writer['out_dir'])
    if not Path(out_dir, MANIFEST_NAME).exists() and next(labels.rglob('*.png'), None) is not None:
        raise UserError(f'{labels}: has png files that were not made with {out_dir}; choose another --out-dir')
    METRICS.build(label_writer)
