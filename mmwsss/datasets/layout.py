"""Where things lie in a data set: image files, class list, splits."""
import functools
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmengine.logging import print_log

from mmwsss.datasets.coco.coco_labels import NO_CLASSES, class_name, coco_classes, read_instances
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_text

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
MAP_EXTENSIONS = ('.png',)
# Second column of VOC's lists per class: absent, difficult, present.
FLAGS = ('-1', '0', '1')
# What the folders of a data set are called where nothing else is said: in VOC layout, and in a folder of images with a
# label file. All other modules take the names from here.
VOC_IMAGES, VOC_MASKS, VOC_XML, SALIENCY = 'JPEGImages', 'SegmentationClass', 'Annotations', 'Saliency'
FOLDER_IMAGES, FOLDER_MASKS = 'images', 'masks'
# What else than labelme's names is no class.
NOT_FOREGROUND = ('background', 'ignore', 'ignored', 'void', 'unlabeled', 'unlabelled')
CLASS_LIST, JSON_LABELS = 'classes.txt', 'labels.json'
LABEL_FILES = ('labels.csv', JSON_LABELS, 'labels.txt', 'instances*.json', 'annotations/instances*.json')
# Images, masks and saliency maps of a data set in VOC layout.
DATA_FOLDERS = (VOC_IMAGES, VOC_MASKS, SALIENCY)
SPLIT_FOLDERS = ('ImageSets', 'ImageSets/Segmentation')
# VOC's train with SBD's images has two names: that of most papers' code, and mmsegmentation's.
SPLIT_ALIASES = {'train_aug': 'trainaug', 'trainaug': 'train_aug'}


def stem_of(name: str) -> str:
    """Returns the name of an image without folder and without image extension.

    Args:
        name: File name, path or bare name. A dot in a bare name is part of it: ``a.b`` stays ``a.b``.

    Returns:
        The stem, under which CAM files, masks and labels of the image are found. Letters with accents are composed
        (Unicode's form NFC), however a disk or a list has them.
    """
    name = _base_name(name)
    base, dot, extension = name.rpartition('.')
    return base if dot and f'.{extension.lower()}' in IMAGE_EXTENSIONS else name


def _base_name(name: str) -> str:
    return unicodedata.normalize('NFC', name.replace('\\', '/').rsplit('/', 1)[-1])


def _stem_of_file(path: str) -> str:
    return unicodedata.normalize('NFC', os.path.splitext(os.path.basename(path))[0])


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
        UserError: If the folder does not exist, if two files have one stem, or a name is not UTF-8.
    """
    return _by_stem(_walk(os.fspath(folder), extensions, recursive))


def walk_files(folder: str | os.PathLike, extensions: Sequence[str]) -> list[Path]:
    """Returns the files of a folder and its sub folders that :func:`find_files` finds, also several of one stem.

    Args:
        folder: The folder.
        extensions: See :func:`find_files`.

    Returns:
        The paths, sorted. A folder with several paths, through symbolic links, is under one of them.

    Raises:
        UserError: If the folder does not exist, or a name is not UTF-8.
    """
    return sorted(map(Path, _walk(os.fspath(folder), extensions, recursive=True)))


def find_files_anywhere(folder: str | os.PathLike, extensions: Sequence[str]) -> dict[str, str]:
    """Finds the files of a folder and its sub folders by stem, for looking up what goes with an image.

    A file directly in the folder goes before those of the same stem in sub folders, which may be previews or other
    versions of it. Two in sub folders are an error.

    Args:
        folder: The folder; one that is not there has no files.
        extensions: See :func:`find_files`.

    Returns:
        Stem -> path, sorted by stem.

    Raises:
        UserError: If two files in sub folders have one stem, or a name is not UTF-8.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        return {}
    direct = find_files(folder, extensions)
    others = [path for path in _walk(folder, extensions, recursive=True) if _stem_of_file(path) not in direct]
    return dict(sorted((direct | _by_stem(others)).items()))


def _by_stem(paths: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(paths):
        stem = _stem_of_file(path)
        if stem in found:
            raise UserError(f'{path}: has the same name as {found[stem]}; rename one, since CAMs, masks and labels '
                            'are named after the image without folder and extension')
        found[stem] = path
    return dict(sorted(found.items()))


def _walk(folder: str, extensions: Sequence[str], recursive: bool) -> Iterator[str]:
    pending, seen = [folder], set()
    while pending:
        current = pending.pop()
        real = os.path.realpath(current)
        if real in seen:  # a symbolic link that leads back up
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f'{current}: cannot be read as a folder ({error.strerror}); check the path') from error
        for entry in entries:
            if entry.name.startswith('.'):
                continue
            if os.path.splitext(entry.name)[1].lower() in extensions and entry.is_file():
                check_path_name(entry.path)
                yield entry.path
            elif recursive and entry.is_dir():
                check_path_name(entry.path)
                # Links last, so that a folder is found under its own path where that is here as well.
                pending.insert(0 if entry.is_symlink() else len(pending), entry.path)


def check_path_name(path: str | os.PathLike) -> None:
    """Refuses a file or folder whose name is not UTF-8, which no list or label file could name.

    Args:
        path: Its path, of which only the last part is looked at.

    Raises:
        UserError: If it is not.
    """
    try:
        os.path.basename(path).encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode(errors='backslashreplace')
        raise UserError(f'{shown}: its name is not UTF-8; rename it') from error


def find_label_file(data_root: str | os.PathLike) -> Path | None:
    """Finds the file of image-level labels of a data set, one of :data:`LABEL_FILES`.

    Returns:
        The file, or ``None`` where there is none.

    Raises:
        UserError: If there are several.
    """
    found = [path for pattern in LABEL_FILES for path in sorted(Path(data_root).glob(pattern))]
    if len(found) > 1:
        raise UserError(f'{data_root}: has several files that may hold the labels, {", ".join(p.name for p in found)}; '
                        'name one (--label-file, or label_file in the config)')
    return found[0] if found else None


def load_classes(data_root: str | os.PathLike, classes: Sequence[str] | None = None,
                 label_file: str | os.PathLike | None = None) -> tuple[str, ...]:
    """Returns the C foreground class names of a data set.

    Args:
        data_root: Folder of the data set; read only when ``classes`` is ``None``.
        classes: The names from the config. ``None``: one name a line in ``classes.txt`` at the data root; without such
            a file, the categories of a COCO json in the order of their ids.
        label_file: File of the image-level labels, below ``data_root`` or absolute, which may be that json. ``None``:
            the one that is there, see :data:`LABEL_FILES`.

    Returns:
        The names, in the order of the class ids.

    Raises:
        UserError: If there is no name, if one is given twice, or if one is ``background``, which is no
            foreground class.
    """
    if classes is None:
        source = os.path.join(data_root, CLASS_LIST)
        if os.path.exists(source):
            names = _class_lines(read_text(source), source)
        else:
            if (names := _categories(data_root, label_file)) is None:
                raise UserError(f'{source}: no such file; write the class names into it, one a line, or give them '
                                '(--classes NAME ..., or classes=[...] in the config)')
            source = label_file or source
    else:
        source = 'classes in the config'
        if isinstance(classes, str) or not all(isinstance(name, str) and name.strip() for name in classes):
            raise UserError(f'{source}: must be a list of names, not {classes!r}')
        names = classes
    return check_classes(names, source)


def check_classes(names: Iterable[str], source: str | os.PathLike) -> tuple[str, ...]:
    """Returns class names as :func:`load_classes` does, which has what it raises; ``source`` is for messages."""
    names = _without_markers([class_name(name) for name in names], source)
    if not names:
        raise UserError(f'{source}: no class name in it; name the foreground classes, one a line')
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f'{source}: class {repeated[0]!r} is listed twice; keep one')
    if markers := [name for name in names if name.lower() in NOT_FOREGROUND or name in NO_CLASSES]:
        raise UserError(f'{source}: "{markers[0]}" is no foreground class; remove it (the background is added where it '
                        'is needed, and pixels to be ignored are 255 in a mask)')
    return tuple(names)


def _class_lines(text: str, source: str | os.PathLike) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if comments := [line for line in lines if line.startswith('#')]:
        _say_once(f'{source}: {len(comments)} lines that begin with # are taken for comments, not for classes')
    return [line for line in lines if not line.startswith('#')]


def _without_markers(names: list[str], source: str | os.PathLike) -> list[str]:
    """Leaves out what labelme's list of classes begins with, which the numbers in its masks do not count."""
    count = next((i for i, name in enumerate(names) if name not in NO_CLASSES), len(names))
    if count:
        _say_once(f'{source}: {", ".join(names[:count])} are passed over: no classes, but what labelme calls the '
                  'background and pixels to be ignored')
    return names[count:]


@functools.cache
def _say_once(message: str) -> None:
    print_log(message, 'current', level=logging.WARNING)


def _categories(data_root: str | os.PathLike, label_file: str | os.PathLike | None) -> list[str] | None:
    """Returns the categories of a COCO json among the files of labels, ``None`` where there is none."""
    if label_file is None:
        files = [path for pattern in LABEL_FILES[-2:] for path in Path(data_root).glob(pattern)]
        path = files[0] if len(files) == 1 else None
    else:
        path = Path(data_root, label_file)
    if path is None or path.suffix.lower() != '.json' or not path.is_file():
        return None
    status = path.stat()
    return _categories_of(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)  # such a file can have hundreds of megabytes
def _categories_of(path: Path, size: int, mtime_ns: int) -> list[str] | None:
    try:
        return list(coco_classes(read_instances(path, outlines=False)))
    except UserError:  # of another form
        return None


def find_split(data_root: str | os.PathLike, split: str) -> Path:
    """Returns the file of a split.

    Args:
        data_root: Folder of the data set.
        split: Name of a file in ``ImageSets`` or ``ImageSets/Segmentation`` without ``.txt``, or the path of
            a ``.txt`` file: absolute, from the working folder or below the data root. ``train_aug`` and ``trainaug``
            are the same one, whichever is there.

    Raises:
        UserError: If there is none; the message lists the splits that exist.
    """
    root = Path(data_root)
    if not root.is_dir():
        raise UserError(f'{root}: no such folder; check data_root')
    names = [split, *([SPLIT_ALIASES[split]] if split in SPLIT_ALIASES else [])]
    candidates = [root / folder / f'{name}.txt' for name in names for folder in SPLIT_FOLDERS]
    if split.endswith('.txt'):
        candidates += [Path(split), root / split]
    for path in candidates:
        if path.is_file():
            return path
    hint = '; name none for all images, or the path of a .txt list'
    existing = sorted({path.stem for folder in SPLIT_FOLDERS for path in (root / folder).glob('*.txt')})
    raise UserError(f'{candidates[-1] if split.endswith(".txt") else candidates[0]}: no such split; '
                    f'{"splits here: " + ", ".join(existing) if existing else f"there is no split in {root}{hint}"}')


def read_split(data_root: str | os.PathLike, split: str | None, img_dir: str | os.PathLike = VOC_IMAGES) -> list[str]:
    """Reads the image list of a split: one image a line, with or without folder and extension.

    VOC's two-column lists are understood when all lines have that form: ``stem 1`` (also 0 and -1: whether a
    class is there) and ``/JPEGImages/stem.jpg /SegmentationClassAug/stem.png`` (image and mask). Names with a space
    can look like the former (``img 0``, ``img 1``): lines are names when two of them begin alike, which VOC's do
    not, or when there is an image of that name. ``shot.png`` may be the whole name of an image ``shot.png.jpg``.

    Args:
        data_root: Folder of the data set.
        split: See :func:`find_split`. ``None``: all images in ``img_dir`` and its sub folders.
        img_dir: Folder of the images, below ``data_root`` or absolute.

    Returns:
        The stems in the order of the file (all images: sorted), without repetitions.

    Raises:
        UserError: If the split does not exist or is empty, or if there is no image.
    """
    images = Path(data_root, img_dir)
    if split is None:
        stems = list(find_files_anywhere(images, IMAGE_EXTENSIONS))
        if not stems:
            raise UserError(f'{images}: there are no images; check the data root and the folder of its images '
                            '(--img-dir)')
        return stems
    path = find_split(data_root, split)
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise UserError(f'{path}: the split is empty; list one image a line')
    if _have_second_column(lines, images):
        lines = [line.split()[0] for line in lines]
    stems = [stem_of(line.strip()) for line in lines]
    whole = [_base_name(line) for line in lines]
    if stems != whole and images.is_dir():
        there = {_stem_of_file(path) for path in _walk(os.fspath(images), IMAGE_EXTENSIONS, recursive=True)}
        stems = [name if name in there and stem not in there else stem for name, stem in zip(whole, stems)]
    return list(dict.fromkeys(stems))


def check_output_dir(out_dir: str | os.PathLike, data_root: str | os.PathLike, *more: str | os.PathLike) -> None:
    """Refuses to write label maps or the like into a folder of the data set.

    Args:
        out_dir: Folder to be written to.
        data_root: Folder of the data set.
        more: Folders of the data set beside :data:`DATA_FOLDERS`, below ``data_root`` or absolute.

    Raises:
        UserError: If ``out_dir`` is one of them or lies in one.
    """
    resolved = Path(out_dir).resolve()
    for folder in (*DATA_FOLDERS, *more):
        if resolved.is_relative_to(Path(data_root, folder).resolve()):
            raise UserError(f'{out_dir}: is a folder of the data set, whose files would be replaced; choose another')


def check_images(data_root: str | os.PathLike, split: str | None, img_dir: str | os.PathLike = VOC_IMAGES) -> None:
    """Refuses a split of which there is no image at all.

    Args:
        data_root: Folder of the data set.
        split: Name of the split, or ``None`` for all images.
        img_dir: Folder of the images, below ``data_root`` or absolute.

    Raises:
        UserError: If no image of the split is there.
    """
    stems, folder = read_split(data_root, split, img_dir), Path(data_root, img_dir)
    images = find_files_anywhere(folder, IMAGE_EXTENSIONS)
    if not any(stem in images for stem in stems):
        raise UserError(f'{folder}: has none of the {len(stems)} images of {describe_split(split)}, such as '
                        f'{stems[0]}; correct the split')


def describe_split(split: str | None) -> str:
    """Returns how messages name a split: ``split val``, or ``all images`` for ``None``."""
    return 'all images' if split is None else f'split {split}'


def _have_second_column(lines: Sequence[str], img_dir: Path) -> bool:
    rows = [line.split() for line in lines]
    if any(len(row) != 2 for row in rows):
        return False
    if all(stem_of(name) == stem_of(second) for name, second in rows):
        return True
    if any(second not in FLAGS for _, second in rows) or len(dict(rows)) < len(set(map(tuple, rows))):
        return False
    images = find_files_anywhere(img_dir, IMAGE_EXTENSIONS)
    return not any(stem_of(line.strip()) in images for line in lines)
