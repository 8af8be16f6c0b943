"""Generated data in VOC layout, for demonstrations and tests.

The scenes reproduce the two failures of class activation maps on purpose. Every object has a small
discriminative emblem and a large plain body, so CAMs cover too little of it; every third class always stands on
a background that no other class has, so CAMs cover too much. By default one picture in five also shows such a
background empty, as there is water without boats: without them a classifier need not look at boats at all. See
:mod:`mmwsss.datasets.synthetic.classes` for the classes, :mod:`mmwsss.datasets.synthetic.scene` for the scenes.
"""
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from mmwsss.datasets.layout import SALIENCY, VOC_IMAGES, VOC_MASKS
from mmwsss.datasets.synthetic.classes import MAX_CLASSES, class_names
from mmwsss.datasets.synthetic.scene import IGNORE, Scene, draw_scene
from mmwsss.structures.label_file import read_label, write_label
from mmwsss.structures.settings_folder import differing_settings
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes, write_json, write_lines

# Goes up whenever the same parameters give other pictures.
GENERATOR_VERSION = 1
JPEG_QUALITY = 92
MIN_SIDE = 16
MIN_LONG_SIDE = 24
MAX_SIDE = 4096
PARAMETER_FILE = 'synthetic.json'
# Says that the folder is generated data before anything else is in it, so that an interrupted run can go on.
PARTIAL_FILE = 'synthetic.partial.json'
COUNTS = ('num_train', 'num_val')


def generate_voc_layout(root: str | os.PathLike, num_train: int = 200, num_val: int = 60, num_classes: int = 5,
                        size: int | tuple[int, int] = 256, seed: int = 0, max_classes_per_image: int = 3,
                        empty_habitats: float = .2, ignore_border: bool = True, progress: bool = False) -> Path:
    """Writes generated scenes in VOC layout.

    ``JPEGImages``, ``SegmentationClass`` (palette PNG), ``Saliency`` (grey PNG), ``ImageSets/{train,val}.txt``,
    ``labels.json`` (the classes in the masks), ``classes.txt``, and last ``synthetic.json`` with the parameters.
    The same parameters give the same bytes (of one OpenCV version). An image depends on its split and number, not on
    how many there are, so a data set can grow: the same call with larger counts adds images. Files that exist are
    kept: an interrupted call goes on, a repeated one does nothing.

    Args:
        root: The folder to write: new, empty, or one that this function wrote with the same parameters.
        num_train: Images of the split ``train``.
        num_val: Images of the split ``val``.
        num_classes: Foreground classes, 1 to 200. Class 0, 3, 6, ... have a background of their own.
        size: One number S: pictures of six shapes with a long side of S (one: 0.8 S) pixels. (H, W): all that size.
        seed: Any number >= 0.
        max_classes_per_image: Most classes in one picture.
        empty_habitats: Share of pictures that also show the habitat of a class that is not there; 0 makes the
            habitats perfect evidence of their classes.
        ignore_border: Whether objects have a rim of 255 in the masks, as in VOC.
        progress: Whether to show a progress bar.

    Returns:
        ``root`` as a path.

    Raises:
        UserError: If an argument is out of range, or ``root`` holds other data.
    """
    root = Path(root)
    parameters = {
        'version': GENERATOR_VERSION, 'num_train': num_train, 'num_val': num_val, 'num_classes': num_classes,
        'size': size if isinstance(size, int) else list(size), 'seed': seed,
        'max_classes_per_image': max_classes_per_image, 'empty_habitats': empty_habitats,
        'ignore_border': ignore_border}
    _check_parameters(parameters)
    if _is_complete(root, parameters):
        return root

    names = class_names(num_classes)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / PARTIAL_FILE, parameters)
    for folder in (VOC_IMAGES, VOC_MASKS, SALIENCY, 'ImageSets'):
        (root / folder).mkdir(exist_ok=True)

    splits = {split: [f'{split}_{i:05d}' for i in range(parameters[f'num_{split}'])] for split in ('train', 'val')}
    jobs = [(split, i, stem) for split, stems in splits.items() for i, stem in enumerate(stems)]
    labels = {}
    for split, index, stem in track(jobs, 'Generating scenes', disable=not progress):
        classes = _read_existing(root, stem)
        if classes is None:
            scene = draw_scene(seed, split, index, num_classes, size if isinstance(size, int) else tuple(size),
                               max_classes_per_image, empty_habitats, ignore_border)
            _write_scene(root, stem, scene)
            classes = scene.classes()
        labels[stem] = [names[k] for k in classes]
    for split, stems in splits.items():
        write_lines(root / 'ImageSets' / f'{split}.txt', stems)
    write_lines(root / 'classes.txt', names)
    write_json(root / 'labels.json', labels)
    write_json(root / PARAMETER_FILE, parameters)
    (root / PARTIAL_FILE).unlink()
    return root


def _check_parameters(parameters: dict[str, Any]) -> None:
    for name in (*COUNTS, 'num_classes', 'seed', 'max_classes_per_image'):
        value = parameters[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(f'{name} must be a whole number >= 0, got {value!r}')
    if sum(parameters[name] for name in COUNTS) == 0:
        raise UserError('num_train and num_val are both 0: ask for at least one image')
    if not 1 <= parameters['num_classes'] <= MAX_CLASSES:
        raise UserError(f'num_classes must be 1 to {MAX_CLASSES}, got {parameters["num_classes"]}')
    if parameters['max_classes_per_image'] < 1:
        raise UserError('max_classes_per_image must be at least 1: every image shows something')
    if not 0 <= parameters['empty_habitats'] <= 1:
        raise UserError(f'empty_habitats must be a share in [0, 1], got {parameters["empty_habitats"]}')
    size = parameters['size']
    if isinstance(size, int):
        if not MIN_LONG_SIDE <= size <= MAX_SIDE:
            raise UserError(f'size must be {MIN_LONG_SIDE} to {MAX_SIDE} pixels, got {size}')
    elif len(size) != 2 or not all(isinstance(side, int) and MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise UserError(f'size must be one number or height and width, {MIN_SIDE} to {MAX_SIDE} pixels each, '
                        f'got {size}')


def _is_complete(root: Path, parameters: dict[str, Any]) -> bool:
    """Says whether ``root`` holds just this data set; raises UserError if it holds something else."""
    if root.exists() and not root.is_dir():
        raise UserError(f'{root}: is a file; choose another folder for the generated data')
    files = [path for path in (root / PARAMETER_FILE, root / PARTIAL_FILE) if path.exists()]
    if not files and root.exists() and any(root.iterdir()):
        raise UserError(f'{root}: holds other data; choose an empty folder for the generated data')
    for file in files:
        found = _read_parameters(file)
        different = differing_settings(found, {name: parameters[name] for name in parameters if name not in COUNTS})
        different += [name for name in COUNTS if found.get(name, 0) > parameters[name]]
        if different:
            had, wanted = ({name: values.get(name) for name in different} for values in (found, parameters))
            raise UserError(f'{root}: holds data generated with {had}, not {wanted}; choose another folder, '
                            'or the same parameters (num_train and num_val may grow)')
    return files[:1] == [root / PARAMETER_FILE] and len(files) == 1 and _read_parameters(files[0]) == parameters


def _read_parameters(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f'{path}: is damaged ({error}); remove the folder and generate the data again') from error
    if not isinstance(found, dict):
        raise UserError(f'{path}: holds no parameters; remove the folder and generate the data again')
    return found


def _scene_paths(root: Path, stem: str) -> tuple[Path, Path, Path]:
    return (root / VOC_IMAGES / f'{stem}.jpg', root / SALIENCY / f'{stem}.png',
            root / VOC_MASKS / f'{stem}.png')


def _read_existing(root: Path, stem: str) -> list[int] | None:
    """Returns the classes of a scene whose files an earlier call has written, None if it has not."""
    paths = _scene_paths(root, stem)
    if not all(path.exists() for path in paths):
        return None
    return [int(value) - 1 for value in np.unique(read_label(paths[-1])) if value not in (0, IGNORE)]


def _write_scene(root: Path, stem: str, scene: Scene) -> None:
    image_path, saliency_path, label_path = _scene_paths(root, stem)
    _, jpeg = cv2.imencode('.jpg', scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    _, png = cv2.imencode('.png', scene.saliency)
    write_bytes(image_path, jpeg.tobytes())
    write_bytes(saliency_path, png.tobytes())
    write_label(label_path, scene.label)
