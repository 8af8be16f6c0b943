"""Saliency maps of the images of a data set, from an ONNX model."""
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmwsss.datasets import read_split
from mmwsss.datasets.layout import IMAGE_EXTENSIONS, find_files_anywhere
from mmwsss.datasets.preflight import check_saliency
from mmwsss.engine.checkpoint import PACKAGE_SCHEME, package_file
from mmwsss.saliency.onnx_saliency import INPUT_SIZE, MODEL_SOURCE, OnnxSaliency, to_saliency
from mmwsss.structures.cam_file import MANIFEST_NAME, stem_path
from mmwsss.structures.image_file import read_image
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import remove_leftovers, sha256_of_file, write_bytes, write_json
from mmwsss.utils.parallel import default_num_workers, limit_threads, progress_bar

MANIFEST_FORMAT = 'mmwsss saliency folder 1'
DEFAULT_BATCH_SIZE = 4


def make_saliency(model: str | os.PathLike,
                  data_root: str | os.PathLike,
                  split: str | None,
                  out_dir: str | os.PathLike | None = None,
                  batch_size: int = DEFAULT_BATCH_SIZE,
                  size: int = INPUT_SIZE,
                  num_workers: int | None = None,
                  img_dir: str = 'JPEGImages') -> dict[str, Any]:
    """Makes the saliency maps of a split: ``<stem>.png`` (8-bit grey, 255 = salient) for every image.

    Interrupted, it resumes: a map that exists is kept if the folder's ``manifest.json`` says that it was made by the
    same model with the same settings, and if its image is not newer.

    Args:
        model: ONNX file of the U^2-Net family, or ``package://<package>/<file in it>``; see
            :class:`mmwsss.saliency.onnx_saliency.OnnxSaliency`.
        data_root: Folder of the data set.
        split: Name of the split, or ``None`` for all images.
        out_dir: Folder for the maps; ``None``: ``Saliency`` below ``data_root``, where data sets look for them.
        batch_size: How many images are computed at a time, where the model takes more than one.
        size: Height and width that the model takes; images are resized to it, whatever their shape.
        num_workers: Processes that read images; 0 reads in this process, ``None`` takes one per CPU.
        img_dir: Folder of the images, below ``data_root`` or absolute. Its sub folders are searched.

    Returns:
        A summary: ``num_images``; ``made`` and ``kept``, the numbers of maps written now and found; ``omissions``, a
        list of (path, reason) of what was left out.

    Raises:
        UserError: If a setting is wrong; if the model is missing or no saliency model; if ``out_dir`` holds maps
            of another origin; if not a single map can be made.
    """
    data_root = Path(data_root)
    model = package_file(str(model)) if str(model).startswith(PACKAGE_SCHEME) else Path(model)
    out_dir = data_root / 'Saliency' if out_dir is None else Path(out_dir)
    if num_workers is None:
        num_workers = default_num_workers()
    for name, value, least in (('batch_size', batch_size, 1), ('size', size, 1), ('num_workers', num_workers, 0)):
        if not isinstance(value, int) or value < least:
            raise UserError(f'{name} must be at least {least}, got {value}')
    if not model.is_file():
        raise UserError(f'{model}: no such model file. {MODEL_SOURCE}')
    stems = read_split(data_root, split, img_dir)
    images = find_files_anywhere(data_root / img_dir, IMAGE_EXTENSIONS)
    settings = {'format': MANIFEST_FORMAT, 'model_sha256': sha256_of_file(model), 'size': size}
    is_new = _is_new_folder(out_dir, data_root / img_dir, settings)
    omissions = {stem: (str(data_root / img_dir / f'{stem}.jpg'), 'no such image')
                 for stem in stems if stem not in images}
    paths = {stem: images[stem] for stem in stems if stem not in omissions}
    todo = {stem: path for stem, path in paths.items() if not _is_made(stem_path(out_dir, stem, '.png'), path)}
    if todo:
        batch_size = min(batch_size, len(todo))
        network = OnnxSaliency(model, size, batch_size)
        if network.batch_size < batch_size:
            print_log(f'{model}: takes one image at a time, so the batch size is 1', 'current', level=logging.WARNING)
        if is_new:
            out_dir.mkdir(parents=True, exist_ok=True)
            write_json(out_dir / MANIFEST_NAME, settings)
        remove_leftovers(out_dir, recursive=True)
        omissions.update(_write_maps(network, todo, out_dir, num_workers))
    if len(omissions) == len(stems):
        path, reason = omissions[stems[0]]
        raise UserError(f'{path}: {reason} (and not one of the {len(stems)} saliency maps could be made)')
    return {
        'num_images': len(stems),
        'made': len(todo.keys() - omissions.keys()),
        'kept': len(paths) - len(todo),
        'omissions': [omissions[stem] for stem in stems if stem in omissions],
    }


def _write_maps(network: OnnxSaliency, paths: dict[str, str], out_dir: Path,
                num_workers: int) -> dict[str, tuple[str, str]]:
    """Writes the saliency maps of images, stem -> path. Returns stem -> omission for those that have none."""
    omissions = {}
    data = _Images(paths, network.size)
    loader = DataLoader(data, network.batch_size, num_workers=min(num_workers, len(data)), collate_fn=list,
                        worker_init_fn=limit_threads)
    with progress_bar() as progress:
        task = progress.add_task('saliency maps', total=len(data))
        for batch in loader:
            omissions.update({item.stem: (paths[item.stem], item.reason) for item in batch if item.reason})
            batch_read = [item for item in batch if not item.reason]
            outputs = network(np.stack([item.pixels for item in batch_read])) if batch_read else ()
            for item, output in zip(batch_read, outputs):
                if not np.isfinite(output).all():
                    omissions[item.stem] = (paths[item.stem], f'{network.path} gives values for it that are not finite')
                    continue
                _, png = cv2.imencode('.png', to_saliency(output, item.size))
                write_bytes(stem_path(out_dir, item.stem, '.png'), png.tobytes())
            progress.update(task, advance=len(batch), refresh=True)
    return omissions


@dataclass
class _Item:
    stem: str
    pixels: np.ndarray | None = None  # uint8 [S, S, 3], RGB
    size: tuple[int, int] = (0, 0)
    reason: str = ''


class _Images(Dataset):
    """Item i is image i at the size of the network's input, or why it cannot be read."""

    def __init__(self, paths: dict[str, str], size: int) -> None:
        self.paths = list(paths.items())
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> _Item:
        stem, path = self.paths[index]
        try:
            image = read_image(path)
        except UserError as error:
            return _Item(stem, reason=str(error).removeprefix(f'{path}: '))
        # PIL's filter grows with the factor, so that a large photograph is not merely sampled.
        pixels = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR)
        return _Item(stem, np.asarray(pixels), image.shape[:2])


def _is_made(path: Path, image: str) -> bool:
    """Whether a former run wrote the map, it can still be read, and the image has not changed since."""
    try:
        is_newer = path.stat().st_mtime_ns >= os.stat(image).st_mtime_ns
    except FileNotFoundError:
        return False
    return is_newer and not check_saliency(str(path)).reason


def _is_new_folder(out_dir: Path, img_dir: Path, settings: dict[str, Any]) -> bool:
    """Checks that what is in ``out_dir`` was made with ``settings``; returns whether it has no maps yet."""
    if out_dir.resolve() == img_dir.resolve():
        raise UserError(f'{out_dir}: is the folder of the images; choose another one for the maps (--out-dir)')
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f'{out_dir}: is a file; choose a folder for the maps (--out-dir)')
    path = out_dir / MANIFEST_NAME
    # Hidden ones are what a killed run leaves.
    names = {entry.name for entry in out_dir.glob('*') if not entry.name.startswith('.')}
    if not names - {MANIFEST_NAME}:
        return True
    if not path.exists():
        raise UserError(f'{out_dir}: has files but no {MANIFEST_NAME}, so it is not known how they were made; choose '
                        'another folder for the maps (--out-dir)')
    try:
        found = json.loads(path.read_bytes())
        differing = [key for key in settings if found.get(key) != settings[key]]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f'{path}: cannot be read ({error}); delete the folder or choose another one '
                        '(--out-dir)') from error
    if differing:
        raise UserError(f'{path}: the files there were made from something else ({", ".join(differing)}); choose '
                        'another folder (--out-dir), or delete this one to make them again')
    return False
