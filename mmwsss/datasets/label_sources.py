"""Image-level labels out of files: csv, json and txt lists, COCO json, VOC XML, segmentation masks."""
import csv
import difflib
import functools
import io
import json
import os
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.datasets.coco.coco_labels import LISTS, is_instances, label_part, parse_instances
from mmwsss.datasets.layout import NO_CLASSES, stem_of
from mmwsss.structures.label_file import IGNORE, read_label
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_text

HEADER_NAMES = ('image', 'name', 'filename', 'file', 'image_name', 'img', 'file_name', 'image_file', 'image_path',
                'image_id', 'img_name', 'img_path', 'path', 'stem')
LABEL_HEADERS = ('label', 'labels', 'class', 'classes', 'class_name', 'class_names', 'category', 'categories', 'tag',
                 'tags')
NAME_KEYS = ('image', 'name', 'file_name', 'filename')
CLASSES_KEYS = ('labels', 'classes')

# One entry of a label file: where it stands, for messages; image name; class names, None: it has no label.
Entry = tuple[str, str, list[str] | None]


def read_label_file(path: str | os.PathLike, use_crowd: bool = True) -> dict[str, list[str]]:
    """Reads class names as :func:`read_labels` does; an image that is listed without a label has none of them."""
    return {stem: names or [] for stem, names in read_labels(path, use_crowd).items()}


def read_labels(path: str | os.PathLike, use_crowd: bool = True) -> dict[str, list[str] | None]:
    """Reads the class names of images from a csv, json or txt file (UTF-8).

    - csv: first cell the image, each other cell a class name or several separated by ``;``. The first line is
      a header when its first cell is one of :data:`HEADER_NAMES`, or its second one of :data:`LABEL_HEADERS` while
      its first is no name of a file; so are those that are spelt with other signs between the words.
    - json: ``{image: [class, ...]}`` or ``[{"image": ..., "labels": [class, ...]}, ...]``; the keys ``name`` and
      ``file_name``, and ``classes``, are understood too. Or COCO's ``instances_*.json``, known by its lists
      ``images``, ``annotations`` and ``categories``: the categories of each image's annotations.
    - txt: image, then class names; separated by tabs where the line has one, else by commas where it has one,
      else by white space. Lines that begin with ``#`` are comments.

    Args:
        path: The file.
        use_crowd: Of a COCO json, also take annotations that are marked ``iscrowd``.

    Returns:
        Stem of the image (name without folder and image extension) -> class names without repetitions. The list is
        empty for an image that shows none of the classes: ``[]`` in a json, no annotation in COCO's, ``image,`` with
        nothing after the comma in a csv or txt. ``None`` for one that is only listed, by its name alone in a line.

    Raises:
        UserError: If the file is missing, empty or malformed, or lists an image twice with different labels.
    """
    readers = {'.csv': _csv_entries, '.json': functools.partial(_json_entries, use_crowd=use_crowd),
               '.txt': _txt_entries}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        raise UserError(f'{path}: a label file must be .csv, .json or .txt')
    labels: dict[str, list[str] | None] = {}
    for place, name, classes in reader(read_text(path), path):
        stem = stem_of(name.strip())
        if not stem:
            raise UserError(f'{path}: {place}: there is no image name; give it before the class names')
        names = None if classes is None else list(dict.fromkeys(
            normal for cls in classes if (normal := unicodedata.normalize('NFC', cls.strip()))))
        if set(labels.setdefault(stem, names) or ()) != set(names or ()):
            raise UserError(f'{path}: {place}: image {stem!r} is listed twice with different labels, {labels[stem]} '
                            f'and {names}; keep one (folder and extension of the name do not count)')
    if not labels:
        raise UserError(f'{path}: there is no label in it; list one image a line with its class names')
    return labels


def _csv_entries(text: str, path: str | os.PathLike) -> Iterator[Entry]:
    reader = csv.reader(io.StringIO(text, newline=''), skipinitialspace=True, strict=True)
    first = True
    try:
        for row in reader:
            place = f'line {reader.line_num}'
            if not any(cell.strip() for cell in row):
                continue
            if first and _is_header(row):
                first = False
                continue
            first = False
            if len(row) == 1 and ';' in row[0]:
                raise UserError(f'{path}: {place}: separate the image from its class names with a comma, not ";"')
            yield place, row[0], [name for cell in row[1:] for name in cell.split(';')] if len(row) > 1 else None
    except csv.Error as error:
        raise UserError(f'{path}: line {reader.line_num}: not valid csv ({error})') from error


def _is_header(row: Sequence[str]) -> bool:
    first, second = (re.sub(r'[^a-z]+', '_', cell.strip().lower()).strip('_') for cell in (row + [''])[:2])
    return first in HEADER_NAMES or (second in LABEL_HEADERS and stem_of(row[0].strip()) == row[0].strip())


def _txt_entries(text: str, path: str | os.PathLike) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        separator = next((s for s in ('\t', ',') if s in line), None)
        name, *classes = line.split(separator)
        yield f'line {number}', name, classes or None


class _Object(list):
    """A json object as its (key, value) pairs; a dict would hide that a key is repeated."""


def _json_object(pairs: list[tuple[str, Any]]) -> _Object:
    fields = dict(pairs)
    part = label_part(fields)
    return _Object(pairs if part is fields else part.items())


def _json_entries(text: str, path: str | os.PathLike, use_crowd: bool) -> Iterator[Entry]:
    try:
        value = json.loads(text, object_pairs_hook=_json_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: not valid json ({error}); correct it there') from error
    content = _coco_content(value)
    if content is not None:
        yield from _coco_entries(content, path, use_crowd)
        return
    if isinstance(value, _Object):
        entries: Iterable[tuple[str, Any, Any]] = ((f'entry {name!r}', name, classes) for name, classes in value)
    elif isinstance(value, list):
        entries = (_json_list_entry(item, f'entry {number}') for number, item in enumerate(value, 1))
    else:
        raise UserError(f'{path}: must hold {{image: [class names]}} or a list of '
                        '{"image": ..., "labels": [class names]}')
    for place, name, classes in entries:
        if not isinstance(name, str):
            raise UserError(f'{path}: {place}: must have the image name under one of {", ".join(NAME_KEYS)}')
        if not isinstance(classes, list) or not all(isinstance(cls, str) for cls in classes):
            raise UserError(f'{path}: {place}: the labels must be a list of class names')
        yield place, name, classes


def _json_list_entry(item: Any, place: str) -> tuple[str, Any, Any]:
    fields = dict(item) if isinstance(item, _Object) else {}
    name = next((fields[key] for key in NAME_KEYS if key in fields), None)
    return place, name, next((fields[key] for key in CLASSES_KEYS if key in fields), None)


def _coco_content(value: Any) -> dict[str, Any] | None:
    """Returns a json of COCO's form with dicts for the objects in its lists, ``None`` for any other."""
    if not isinstance(value, _Object):
        return None
    content = {key: dict(items) if isinstance(items, _Object) else items for key, items in value}
    for key in LISTS:
        if isinstance(content.get(key), list):
            content[key] = [dict(item) if isinstance(item, _Object) else item for item in content[key]]
    return content if is_instances(content) else None


def _coco_entries(content: dict[str, Any], path: str | os.PathLike, use_crowd: bool) -> Iterator[Entry]:
    instances = parse_instances(content, path)
    for image, annotations in instances.images:
        name = image['file_name']
        names = instances.class_names(annotations, use_crowd)
        # Crowds that are not counted do show a class.
        yield f'image {name!r}', name, None if annotations and not names else names


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type: annotations have none, and entities declared in it can expand without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called by the parser before anything of the document type is used."""
        raise UserError('has a DOCTYPE, which an annotation file must not have; remove it')


def parse_xml(path: str | os.PathLike) -> ElementTree.Element:
    """Returns the root of an annotation in XML.

    Raises:
        UserError: If the file is missing, malformed or has a DOCTYPE.
    """
    try:
        data = Path(path).read_bytes()
        return ElementTree.fromstring(data, parser=ElementTree.XMLParser(target=_NoDoctype()))
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path') from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f'{path}: not valid XML ({error})') from error
    except UserError as error:
        raise UserError(f'{path}: {error}') from None


def read_xml_labels(path: str | os.PathLike, use_difficult: bool = True) -> list[str] | None:
    """Reads the class names of a PASCAL VOC annotation: ``<object><name>``.

    Args:
        path: The XML file.
        use_difficult: Also take objects that are marked ``<difficult>1``.

    Returns:
        The names, without repetitions; ``None`` where all objects are difficult ones that are not taken.

    Raises:
        UserError: If the file is missing, malformed, has a DOCTYPE or an object without a name.
    """
    names, left_out = [], False
    for item in parse_xml(path).findall('object'):
        name = (item.findtext('name') or '').strip()
        if not name:
            raise UserError(f'{path}: an <object> has no <name>; give it one')
        if use_difficult or (item.findtext('difficult') or '').strip() != '1':
            names.append(unicodedata.normalize('NFC', name))
        else:
            left_out = True
    return None if left_out and not names else list(dict.fromkeys(names))


def read_mask_labels(path: str | os.PathLike, num_classes: int) -> list[int]:
    """Returns the foreground classes that a segmentation mask shows.

    Args:
        path: 8-bit mask: 0 background, k + 1 for class k, 255 ignored.
        num_classes: Number C of foreground classes.

    Returns:
        The 0-based class ids, ascending.

    Raises:
        UserError: If the mask is unreadable or has an id above C that is not 255.
    """
    return classes_of_ids(np.unique(read_label(path)).tolist(), num_classes, path)


def classes_of_ids(ids: Iterable[int], num_classes: int, path: str | os.PathLike) -> list[int]:
    """Returns the foreground classes among the ids of a mask; see :func:`read_mask_labels`.

    Args:
        ids: The ids that occur in the mask.
        num_classes: Number C of foreground classes.
        path: The mask, for the message.

    Raises:
        UserError: If an id is above C and not 255.
    """
    present = sorted(set(ids) - {0, IGNORE})
    if present and present[-1] > num_classes:
        raise UserError(f'{path}: has the id {present[-1]}, but there are {num_classes} foreground classes; correct '
                        'the mask or the class list')
    return [i - 1 for i in present]


def multi_hot(names: Iterable[str], classes: Sequence[str], source: str | os.PathLike, image: str) -> np.ndarray:
    """Turns class names into a multi-hot vector.

    Args:
        names: Class names of one image.
        classes: The C foreground class names.
        source: File that the names come from, for the message.
        image: The image, for the message.

    Returns:
        float32 [C]; 1 for each class named, else 0. Labelme's names for what is no class count for nothing.

    Raises:
        UserError: If a name is not in ``classes``; the message names the closest class.
    """
    vector = np.zeros(len(classes), np.float32)
    for name in names:
        if name in NO_CLASSES:
            continue
        if name not in classes:
            closest = difflib.get_close_matches(name, classes, n=1, cutoff=0)[0]
            raise UserError(f'{source}: image {image!r}: {name!r} is not in the class list (closest: {closest!r}); '
                            'correct the label or add the class')
        vector[classes.index(name)] = 1
    return vector
