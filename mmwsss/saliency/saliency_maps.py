"""Saliency maps of the images of a data set, from an ONNX model."""
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image

from mmwsss.datasets import DataFolder
from mmwsss.datasets.preflight import check_saliency
from mmwsss.saliency.onnx_saliency import INPUT_SIZE, MODEL_SOURCE, OnnxSaliency, to_saliency
from mmwsss.structures.cam_file import stem_path
from mmwsss.structures.image_file import read_image
from mmwsss.structures.settings_folder import SettingsFolder
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import sha256_of_file, write_bytes
from mmwsss.utils.package_file import PACKAGE_SCHEME, package_file
from mmwsss.utils.parallel import check_num_workers, parallel_map, progress_bar

MANIFEST_FORMAT = 'mmwsss saliency folder 1'
DEFAULT_BATCH_SIZE = 4


def model_file(model: str | os.PathLike) -> Path:
    """Returns the file of a saliency network: a path, or ``package://<package>/<file in it>``.

    Raises:
        UserError: If there is none.
    """
    path = package_file(str(model)) if str(model).startswith(PACKAGE_SCHEME) else Path(model)
    if not path.is_file():
        raise UserError(f'{path}: no such model file. {MODEL_SOURCE}')
    return path


def make_saliency(model: str | os.PathLike,
                  data: DataFolder | str | os.PathLike,
                  split: str | None,
                  out_dir: str | os.PathLike | None = None,
                  batch_size: int = DEFAULT_BATCH_SIZE,
                  size: int = INPUT_SIZE,
                  num_workers: int | None = None) -> dict[str, Any]:
    """Makes the saliency maps of a split: ``<stem>.png`` (8-bit grey, 255 = salient) for every image.

    Interrupted, it resumes: a map that exists is kept if the folder's ``manifest.json`` says that it was made by the
    same model with the same settings, and if its image is not newer.

    Args:
        model: ONNX file of the U^2-Net family, or ``package://<package>/<file in it>``; see
            :class:`mmwsss.saliency.onnx_saliency.OnnxSaliency`.
        data: The data set, or its root.
        split: Name of the split, or ``None`` for all images.
        out_dir: Folder for the maps; ``None``: where data sets look for them, ``Saliency`` below the root.
        batch_size: How many images are computed at a time, where the model takes more than one.
        size: Height and width that the model takes; images are resized to it, whatever their shape.
        num_workers: Processes that read images; 0 reads in this process, ``None`` takes one per CPU.

    Returns:
        A summary: ``num_images``; ``made`` and ``kept``, the numbers of maps written now and found; ``skipped``, a
        list of (path, reason) of what was left out.

    Raises:
        UserError: If a setting is wrong; if the model is missing or no saliency model; if ``out_dir`` holds maps
            of another origin, or lies in a folder of images, masks or annotations; if not a single map can be made.
    """
    data = DataFolder.find(data)
    model = model_file(model)
    out_dir = data.saliency_path if out_dir is None else Path(out_dir)
    num_workers = check_num_workers(num_workers)
    for name, value in (('batch_size', batch_size), ('size', size)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f'{name} must be at least 1, got {value}')
    stems, images = data.stems(split), data.image_paths()
    if out_dir.resolve() == data.images_path.resolve():
        raise UserError(f'{out_dir}: is the folder of the images; choose another one for the maps (--out-dir)')
    # Where maps belong may lie below the images, of a data set that has them in its root.
    if out_dir.resolve() != data.saliency_path.resolve():
        for inside in (data.images_path, data.masks_path, data.root / data.ann_dir):
            if out_dir.resolve().is_relative_to(inside.resolve()):
                raise UserError(f'{out_dir}: is in {inside}, a folder of the data set; choose another one for the maps '
                                '(--out-dir)')
    folder = SettingsFolder(out_dir, {'format': MANIFEST_FORMAT, 'model_sha256': sha256_of_file(model), 'size': size},
                            'maps', option='--out-dir', binds_when_empty=False)
    folder.check()
    skipped = {stem: (str(data.images_path / f'{stem}.jpg'), 'no such image')
                 for stem in stems if stem not in images}
    paths = {stem: images[stem] for stem in stems if stem not in skipped}
    todo = {stem: path for stem, path in paths.items() if not _is_made(stem_path(out_dir, stem, '.png'), path)}
    if todo:
        batch_size = min(batch_size, len(todo))
        network = OnnxSaliency(model, size, batch_size)
        if network.batch_size < batch_size:
            print_log(f'{model}: takes one image at a time, so the batch size is 1', 'current', level=logging.WARNING)
        folder.open()
        skipped.update(_write_maps(network, todo, out_dir, num_workers))
    if len(skipped) == len(stems):
        path, reason = skipped[stems[0]]
        raise UserError(f'{path}: {reason} (and not one of the {len(stems)} saliency maps could be made)')
    return {
        'num_images': len(stems),
        'made': len(todo.keys() - skipped.keys()),
        'kept': len(paths) - len(todo),
        'skipped': [skipped[stem] for stem in stems if stem in skipped],
    }


def _write_maps(network: OnnxSaliency, paths: dict[str, str], out_dir: Path,
                num_workers: int) -> dict[str, tuple[str, str]]:
    """Writes the saliency maps of images, stem -> path. Returns stem -> (path, reason) for those that have none."""
    skipped = {}
    stems, size = list(paths), network.batch_size
    batches = [[(stem, paths[stem]) for stem in stems[i:i + size]] for i in range(0, len(stems), size)]
    with progress_bar() as progress:
        task = progress.add_task('saliency maps', total=len(paths))
        for batch in parallel_map(_Reader(network.size), batches, min(num_workers, len(batches))):
            skipped.update({item.stem: (paths[item.stem], item.reason) for item in batch if item.reason})
            batch_read = [item for item in batch if not item.reason]
            outputs = network(np.stack([item.pixels for item in batch_read])) if batch_read else ()
            for item, output in zip(batch_read, outputs):
                if not np.isfinite(output).all():
                    skipped[item.stem] = (paths[item.stem], f'{network.path} gives values for it that are not finite')
                    continue
                _, png = cv2.imencode('.png', to_saliency(output, item.size))
                write_bytes(stem_path(out_dir, item.stem, '.png'), png.tobytes())
            progress.update(task, advance=len(batch), refresh=True)
    return skipped


@dataclass
class _Item:
    stem: str
    pixels: np.ndarray | None = None  # uint8 [S, S, 3], RGB
    size: tuple[int, int] = (0, 0)
    reason: str = ''


class _Reader:
    """Reads images at the size of the network's input, or says why they cannot be read; what a worker does."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, batch: Sequence[tuple[str, str]]) -> list[_Item]:
        return [self._read(stem, path) for stem, path in batch]

    def _read(self, stem: str, path: str) -> _Item:
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
