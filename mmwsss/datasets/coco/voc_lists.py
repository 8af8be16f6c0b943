"""Classes and images in the lists of a data set that is written, such that they read back as they are."""
import os
from collections.abc import Iterable
from pathlib import Path

from mmwsss.datasets.coco.coco_labels import NO_CLASSES, class_name
from mmwsss.datasets.layout import CLASS_LIST, check_classes, load_classes, stem_of
from mmwsss.utils.errors import UserError


def classes_to_write(data_root: str | os.PathLike, found: Iterable[str], source: str | os.PathLike) -> tuple[str, ...]:
    """Returns the classes of a data set that is written, as its ``classes.txt`` will be read.

    Args:
        data_root: Folder of the data set. Where it has a ``classes.txt`` already, that says the classes.
        found: Otherwise: class names; labelme's names for what is no class are left out.
        source: What they come from, for messages.

    Raises:
        UserError: If there is none, or one that is no foreground class or cannot stand in the file.
    """
    path = Path(data_root, CLASS_LIST)
    if path.exists():
        return load_classes(data_root)
    names = [name for name in map(class_name, found) if name not in NO_CLASSES]
    if not names:
        raise UserError(f'{source}: names no class, but at least one is needed; correct it, or write the names into '
                        f'{path}, one a line')
    if odd := [name for name in names if name.startswith('#') or len(name.splitlines()) != 1]:
        raise UserError(f'{source}: class {odd[0]!r} cannot stand in {CLASS_LIST}, one a line, where # begins a '
                        'comment; rename it')
    try:
        return check_classes(names, source)
    except UserError as error:
        raise UserError(f'{error}; or write the names into {path}, one a line') from error


def listed_name(stem: str) -> str:
    """Returns what stands for an image in splits and label files, such that it is read as this stem.

    That is the stem itself, but for those that would be cut: ``shot.png`` (of ``shot.png.jpg``), or with a space at an
    end.

    Raises:
        UserError: If nothing can stand for it.
    """
    for name in (stem, f'{stem}.jpg', f'./{stem}.jpg'):
        if stem_of(name.strip()) == stem and len(name.splitlines()) == 1:
            return name
    raise UserError(f'{stem!r}: an image of this name cannot stand in a list, one a line; rename it')
