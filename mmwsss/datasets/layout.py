"""Where things lie in a data set: image files, class list, splits."""
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmwsss.utils.errors import UserError

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
MAP_EXTENSIONS = ('.png',)
SPLIT_FOLDERS = ('ImageSets', 'ImageSets/Segmentation')


def stem_of(name: str) -> str:
    """Returns the name of an image without folder and without image extension.

    Args:
        name: File name, path or bare name. A dot in a bare name is part of it: ``a.b`` stays ``a.b``.

    Returns:
        The stem, under which CAM files, masks and labels of the image are found.
    """
    name = name.replace('\\', '/').rsplit('/', 1)[-1]
    base, dot, extension = name.rpartition('.')
    return base if dot and f'.{extension.lower()}' in IMAGE_EXTENSIONS else name


def read_text(path: str | os.PathLike) -> str:
    """Returns a UTF-8 text file without its byte order mark.

    Raises:
        UserError: If the file is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not UTF-8 text (byte {error.start}); save it as UTF-8') from error
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path') from error


def find_files(folder: str | os.PathLike, extensions: Sequence[str], recursive: bool = False) -> dict[str, str]:
    """Scans a folder once for files with one of the extensions, in any letter case.

    Hidden files and folders are passed over.

    Args:
        folder: The folder.
        extensions: Lower-case extensions with their dot.
        recursive: Look into sub folders too, also through symbolic links.

    Returns:
        Stem -> path, sorted by stem.

    Raises:
        UserError: If the folder does not exist, or if two files have one stem.
    """
    found: dict[str, str] = {}
    for path in sorted(_walk(os.fspath(folder), recursive)):
        stem, extension = os.path.splitext(os.path.basename(path))
        if extension.lower() not in extensions:
            continue
        if stem in found:
            raise UserError(f'{path}: has the same name as {found[stem]}; rename one, since CAMs, masks and labels '
                            'are named after the image without folder and extension')
        found[stem] = path
    return dict(sorted(found.items()))


def _walk(folder: str, recursive: bool) -> Iterator[str]:
    pending, seen = [folder], set()
    while pending:
        current = pending.pop()
        real = os.path.realpath(current)
        if real in seen:  # a symbolic link that leads back up
            continue
        seen.add(real)
        try:
            entries = list(os.scandir(current))
        except OSError as error:
            raise UserError(f'{current}: cannot be read as a folder ({error.strerror}); check the path') from error
        for entry in entries:
            if entry.name.startswith('.'):
                continue
            if entry.is_file():
                yield entry.path
            elif recursive and entry.is_dir():
                pending.append(entry.path)


def load_classes(data_root: str | os.PathLike, classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Returns the C foreground class names of a data set.

    Args:
        data_root: Folder of the data set; read only when ``classes`` is ``None``.
        classes: The names from the config. ``None``: one name a line in ``classes.txt`` at the data root.

    Returns:
        The names, in the order of the class ids.

    Raises:
        UserError: If there is no name, if one is given twice, or if one is ``background``, which is no
            foreground class.
    """
    if classes is None:
        source = os.path.join(data_root, 'classes.txt')
        if not os.path.exists(source):
            raise UserError(f'{source}: no such file; write the class names into it, one a line, or give '
                            'classes=[...] in the config')
        names = [line.strip() for line in read_text(source).splitlines() if line.strip()]
    else:
        source = 'classes in the config'
        if isinstance(classes, str) or not all(isinstance(name, str) and name.strip() for name in classes):
            raise UserError(f'{source}: must be a list of names, not {classes!r}')
        names = [name.strip() for name in classes]
    if not names:
        raise UserError(f'{source}: no class name in it; name the foreground classes, one a line')
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f'{source}: class {repeated[0]!r} is listed twice; keep one')
    if any(name.lower() == 'background' for name in names):
        raise UserError(f'{source}: "background" is no foreground class and is added where it is needed; remove it')
    return tuple(names)


def find_split(data_root: str | os.PathLike, split: str) -> Path:
    """Returns the file of a split.

    Args:
        data_root: Folder of the data set.
        split: Name of a file in ``ImageSets`` or ``ImageSets/Segmentation`` without ``.txt``, or the path of
            a ``.txt`` file: absolute, from the working folder or below the data root.

    Raises:
        UserError: If there is none; the message lists the splits that exist.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise UserError(f'{root}: no such folder; check data_root')
    candidates = [root / folder / f'{split}.txt' for folder in SPLIT_FOLDERS]
    if split.endswith('.txt'):
        candidates += [Path(split), root / split]
    for path in candidates:
        if path.is_file():
            return path
    existing = sorted({path.stem for folder in SPLIT_FOLDERS for path in (root / folder).glob('*.txt')})
    raise UserError(f'{candidates[-1] if split.endswith(".txt") else candidates[0]}: no such split; '
                    f'{"splits here: " + ", ".join(existing) if existing else "there is no split in " + str(root)}')


def read_split(data_root: str | os.PathLike, split: str) -> list[str]:
    """Reads the image list of a split: one image a line, with or without folder and extension.

    VOC's two-column lists are understood when all lines have that form: ``stem 1`` (also 0 and -1: whether a
    class is there) and ``/JPEGImages/stem.jpg /SegmentationClassAug/stem.png`` (image and mask).

    Args:
        data_root: Folder of the data set.
        split: See :func:`find_split`.

    Returns:
        The stems in the order of the file, without repetitions.

    Raises:
        UserError: If the split does not exist or is empty.
    """
    path = find_split(data_root, split)
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise UserError(f'{path}: the split is empty; list one image a line')
    if all(_has_second_column(line) for line in lines):
        lines = [line.split()[0] for line in lines]
    return list(dict.fromkeys(stem_of(line) for line in lines))


def _has_second_column(line: str) -> bool:
    columns = line.split()
    return len(columns) == 2 and (re.fullmatch(r'-1|0|1', columns[1]) is not None
                                  or stem_of(columns[0]) == stem_of(columns[1]))
