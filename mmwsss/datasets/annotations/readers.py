"""Reading what labelling programs write: labelme, LabelImg (VOC XML and YOLO), CVAT; and a folder for each class."""
import base64
import binascii
import functools
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmwsss.datasets.annotations.shapes import Shape
from mmwsss.datasets.coco.coco_labels import class_name
from mmwsss.datasets.label_sources import parse_xml, read_xml_labels
from mmwsss.datasets.layout import (
    IMAGE_EXTENSIONS,
    NOT_FOREGROUND,
    check_path_name,
    find_files_anywhere,
    stem_of,
    walk_files,
)
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_text

YOLO_CLASSES = ('classes.txt', 'obj.names')


@dataclass
class Annotation:
    """What is known of one image.

    Attributes:
        source: The file that says so, for messages.
        image: Path of the image, which need not exist.
        names: Class names, each once, as :func:`~mmwsss.datasets.coco.coco_labels.class_name` has them.
        shapes: The shapes that were drawn; empty where there are only names.
        size: (H, W) that the shapes are for; ``None`` where it is not said.
        stem: Name of the image in the data set.
    """
    source: Path
    image: Path
    names: list[str]
    shapes: list[Shape] = field(default_factory=list)
    size: tuple[int, int] | None = None
    stem: str = ''

    def __post_init__(self) -> None:
        self.names = list(dict.fromkeys(map(class_name, self.names)))
        self.stem = self.stem or stem_of(self.image.name)


def _image_of(path: Path, name: str, folder: Path, images: Path) -> Path:
    """Returns the image that an annotation names: from its own sub folder, or else from the folder of the images."""
    near = images / path.parent.relative_to(folder) / name
    return near if near.is_file() else images / name


def read_labelme(folder: Path, images: Path) -> tuple[list[Annotation], list[str]]:
    """Reads the ``<name>.json`` of labelme, one for each image; returns annotations and no class list."""
    found = []
    for path in walk_files(folder, ('.json', )):
        content = _json(path)
        if not isinstance(content, dict) or not isinstance(content.get('shapes'), list):
            raise UserError(f'{path}: is no file of labelme, which has a list "shapes"; move it elsewhere')
        flags = content.get('flags') or {}
        if not isinstance(flags, dict):
            raise UserError(f'{path}: "flags" must be names with true or false; save it again with labelme')
        name = str(content.get('imagePath') or f'{path.stem}.jpg').replace('\\', '/')
        try:
            shapes = [_labelme_shape(shape) for shape in content['shapes']]
            shapes = [shape for shape in shapes if shape.name]
        except (KeyError, TypeError, ValueError, AttributeError, OSError, binascii.Error) as error:
            raise UserError(f'{path}: a shape in it is damaged ({type(error).__name__}: {error}); save it again with '
                            'labelme') from error
        flags = [str(flag) for flag, is_set in flags.items() if is_set is True]
        height, width = content.get('imageHeight'), content.get('imageWidth')
        size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        names = [shape.name for shape in shapes] + [flag for flag in flags if flag.strip()]
        found.append(Annotation(path, _image_of(path, name, folder, images), names, shapes, size))
    return found, []


def _labelme_shape(shape: dict[str, Any]) -> Shape:
    points = np.array(shape['points'], float).reshape(-1, 2)
    kind, mask = shape.get('shape_type') or 'polygon', None
    if kind == 'mask':
        with Image.open(io.BytesIO(base64.b64decode(shape['mask'])), formats=['PNG']) as image:
            mask = np.array(image) > 0
    return Shape(str(shape['label']), kind, points, mask)


def read_labelimg(folder: Path, images: Path) -> tuple[list[Annotation], list[str]]:
    """Reads what LabelImg writes: PASCAL VOC's ``<name>.xml``, or YOLO's ``<name>.txt`` with a ``classes.txt``.

    An image beside YOLO's files without one of them is not listed; one with an empty file shows no class.
    """
    files = walk_files(folder, ('.xml', ))
    if files:
        names = [(parse_xml(path).findtext('filename') or '').strip() or f'{path.stem}.jpg' for path in files]
        return [Annotation(path, _image_of(path, name, folder, images), read_xml_labels(path) or [])
                for path, name in zip(files, names)], []
    lists = [folder / name for name in YOLO_CLASSES if (folder / name).is_file()]
    if not lists:
        raise UserError(f'{folder}: holds no .xml files, and no {" or ".join(YOLO_CLASSES)} with the names of YOLO\'s '
                        'classes; name the folder of the annotations')
    classes = [line.strip() for line in read_text(lists[0]).splitlines() if line.strip()]
    there = functools.cache(lambda sub_folder: find_files_anywhere(images / sub_folder, IMAGE_EXTENSIONS))
    found = []
    for path in walk_files(folder, ('.txt', )):
        if path.name in YOLO_CLASSES:
            continue
        names = []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip():
                continue
            first = line.split()[0]
            if not first.isdigit() or int(first) >= len(classes):
                raise UserError(f'{path}: line {number}: begins with {first!r}, which is no number of the '
                                f'{len(classes)} classes in {lists[0]}')
            names.append(classes[int(first)])
        stem = stem_of(f'{path.stem}.jpg')
        image = there(path.parent.relative_to(folder)).get(stem) or there('').get(stem)
        found.append(Annotation(path, Path(image or images / f'{path.stem}.jpg'), names))
    return found, classes


def read_cvat(path: Path, images: Path) -> tuple[list[Annotation], list[str]]:
    """Reads the XML of CVAT's export "CVAT for images": boxes, polygons, masks, tags."""
    path = path / 'annotations.xml' if path.is_dir() else path
    root = parse_xml(path)
    elements = root.findall('image')
    if root.tag != 'annotations' or not elements:
        raise UserError(f'{path}: has no <image> in <annotations>; export the task as "CVAT for images"')
    found = []
    for element in elements:
        name = (element.get('name') or '').replace('\\', '/')
        try:
            shapes = [_cvat_shape(item) for item in element if item.get('label') and item.tag != 'tag']
            size = (int(element.get('height')), int(element.get('width'))) if element.get('height') else None
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(f'{path}: image {name!r}: a shape is damaged ({error}); export the task again') from error
        names = [item.get('label') for item in element if item.get('label')]
        found.append(Annotation(path, images / name, names, shapes, size))
    classes = [class_name(label.findtext('name') or '') for label in root.iter('label')]
    return found, [name for name in dict.fromkeys(classes) if name]


def _cvat_shape(item: Any) -> Shape:
    name = item.get('label')
    if item.tag == 'mask':
        height, width = int(item.get('height')), int(item.get('width'))
        runs = [int(run) for run in item.get('rle').split(',')]
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # the first run is of what is not the object
        return Shape(name, 'mask', np.array([[float(item.get('left')), float(item.get('top'))]]),
                     values.reshape(height, width))
    points = [[float(value) for value in pair.split(',')] for pair in (item.get('points') or '').split(';') if pair]
    return Shape(name, item.tag, np.array(points, float).reshape(-1, 2))


def read_class_folders(folder: Path, images: Path) -> tuple[list[Annotation], list[str]]:
    """Reads a folder for each class; images in one called ``background`` show none of them.

    Where two folders have an image of one name, all images get the class before their name.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))
    if not folders:
        raise UserError(f'{folder}: holds no folders of classes')
    found = []
    for path in folders:
        check_path_name(path)
        names = [] if path.name.lower() in NOT_FOREGROUND else [path.name]
        found += [Annotation(path, file, names) for file in walk_files(path, IMAGE_EXTENSIONS)]
    stems = [annotation.stem for annotation in found]
    if len(set(stems)) < len(stems):
        for annotation in found:
            annotation.stem = stem_of(f'{annotation.source.name}_{annotation.image.name}')
    return found, [path.name for path in folders if path.name.lower() not in NOT_FOREGROUND]


# Name of the program -> function of the annotations and the folder of the images.
READERS: dict[str, Callable[[Path, Path], tuple[list[Annotation], list[str]]]] = {
    'labelme': read_labelme, 'labelimg': read_labelimg, 'cvat': read_cvat, 'folders': read_class_folders}


def _json(path: str | os.PathLike) -> Any:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: not valid json ({error})') from error
