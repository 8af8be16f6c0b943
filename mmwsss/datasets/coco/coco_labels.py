"""COCO's ``instances_*.json``: images, categories, and the annotations of each image."""
import json
import os
import reprlib
import unicodedata
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_text

LISTS = ('images', 'annotations', 'categories')
# Names in labelme's lists of classes, and in what is made of them, that are no class.
NO_CLASSES = ('__ignore__', '_background_', '__background__')
# What image-level labels need of an annotation.
LABEL_KEYS = ('image_id', 'category_id', 'iscrowd')


@dataclass(frozen=True)
class Instances:
    """The content of an ``instances_*.json``, checked.

    Attributes:
        categories: Id of a category -> its name, in the order of the file. COCO's ids have gaps: 1 to 90 for 80 names.
        images: (image, its annotations) in the order of the file, as the objects of the json. An image has a
            ``file_name``; an annotation may be known by its label only, see :func:`read_instances`.
    """

    categories: dict[Hashable, str]
    images: list[tuple[dict, list[dict]]]

    def class_names(self, annotations: Iterable[dict], use_crowd: bool = True) -> list[str]:
        """Returns the class names of an image's annotations without repetitions.

        Args:
            annotations: The annotations.
            use_crowd: Also count regions that are marked ``iscrowd``, of many objects that were not told apart: they
                do show the class.
        """
        names = (self.categories[item['category_id']] for item in annotations if use_crowd or not item.get('iscrowd'))
        return list(dict.fromkeys(names))


def read_instances(path: str | os.PathLike, outlines: bool = True) -> Instances:
    """Reads an ``instances_*.json``.

    Args:
        path: The file.
        outlines: Keep whole annotations. Otherwise only :data:`LABEL_KEYS`: the outlines are most of the file, and
            several times its size in memory.

    Raises:
        UserError: If the file is missing, no json or not of COCO's form.
    """
    try:
        content = json.loads(read_text(path), object_hook=None if outlines else label_part)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: not valid json ({error}); correct it there') from error
    return parse_instances(content if isinstance(content, dict) else {}, path)


def coco_classes(instances: Instances) -> tuple[str, ...]:
    """Returns the names of the categories in the order of their ids, numbers before texts.

    Labelme's :data:`NO_CLASSES` are left out, also where something is annotated as one.
    """
    ids = sorted((key for key, name in instances.categories.items() if name not in NO_CLASSES),
                 key=lambda key: (isinstance(key, str), key))
    return tuple(instances.categories[key] for key in ids)


def class_name(text: str) -> str:
    """Returns a class name as lists of classes are read: without space around it, in Unicode's form NFC."""
    return unicodedata.normalize('NFC', text.strip())


def label_part(fields: dict[str, Any]) -> dict[str, Any]:
    """Reduces an annotation to :data:`LABEL_KEYS`; any other json object comes back as it is.

    A list stands for class names in the other forms of label files, so an object with lists is no annotation.
    """
    if any(isinstance(fields.get(key, []), list) for key in ('image_id', 'category_id')):
        return fields
    return {key: fields[key] for key in LABEL_KEYS if key in fields}


def is_instances(content: dict[str, Any]) -> bool:
    """Tells COCO's form from ``{image: [class, ...]}``.

    Returns:
        Whether there are three lists named :data:`LISTS`, or, for a better message, images that are json objects.
    """
    images = content.get('images')
    return isinstance(images, list) and (all(isinstance(content.get(name), list) for name in LISTS)
                                         or any(isinstance(image, dict) for image in images))


def parse_instances(content: dict[str, Any], path: str | os.PathLike) -> Instances:
    """Checks the content of an ``instances_*.json`` and sorts its annotations by image, in one pass.

    Args:
        content: The json.
        path: The file, for messages.

    Raises:
        UserError: If a list, an id or a name is missing, an id or the name of a category is there twice, or an
            annotation belongs to no image or category.
    """
    for name in LISTS:
        if not isinstance(content.get(name), list):
            raise UserError(f"{path}: has no list {name!r}; COCO's form needs {', '.join(LISTS)}, as in its "
                            'instances_*.json')
    categories: dict[Hashable, str] = {}
    for key, item, place in _with_ids(content['categories'], 'categories', path):
        name = item.get('name')
        if not isinstance(name, str) or not name.strip():
            raise UserError(f'{path}: {place}: has no name; give it one')
        name = class_name(name)
        if name in categories.values():
            raise UserError(f'{path}: {place}: category {name!r} is listed twice; keep one')
        categories[key] = name
    images: dict[Hashable, tuple[dict, list[dict]]] = {}
    for key, item, place in _with_ids(content['images'], 'images', path):
        if not isinstance(item.get('file_name'), str) or not item['file_name'].strip():
            raise UserError(f'{path}: {place}: has no file_name; give it one')
        images[key] = (item, [])
    for number, item in enumerate(content['annotations'], 1):
        try:
            known = item['category_id'] in categories
            images[item['image_id']][1].append(item)
        except (KeyError, TypeError):
            known = False
        if not known:
            raise UserError(f'{path}: entry {number} of annotations: must have an image_id and a category_id of the '
                            f'lists images and categories, but is {_short(item)}; correct or remove it')
    return Instances(categories, list(images.values()))


def _with_ids(items: list, what: str, path: str | os.PathLike) -> Iterable[tuple[Hashable, dict, str]]:
    seen = set()
    for number, item in enumerate(items, 1):
        place = f'entry {number} of {what}'
        key = item.get('id') if isinstance(item, dict) else None
        if not isinstance(key, (int, str)):
            raise UserError(f'{path}: {place}: has no id; give it one')
        if key in seen:
            raise UserError(f'{path}: {place}: the id {_short(key)} is there twice; give it another')
        seen.add(key)
        yield key, item, place


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = {key: value[key] for key in LABEL_KEYS if key in value}
    return reprlib.repr(value)
