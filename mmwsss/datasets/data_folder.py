"""One description of a user's data: where images, labels, masks and saliency maps lie, and what they are called."""
import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmwsss.datasets.file_digests import file_digests
from mmwsss.datasets.label_sources import read_labels, read_xml_labels
from mmwsss.datasets.layout import (
    CLASS_LIST,
    FOLDER_IMAGES,
    FOLDER_MASKS,
    IMAGE_EXTENSIONS,
    JSON_LABELS,
    LABEL_FILES,
    MAP_EXTENSIONS,
    SALIENCY,
    SPLIT_FOLDERS,
    VOC_IMAGES,
    VOC_MASKS,
    VOC_XML,
    check_images,
    check_output_dir,
    find_files,
    find_files_anywhere,
    find_label_file,
    load_classes,
    read_split,
)
from mmwsss.registry import DATASETS
from mmwsss.structures.label_file import label_path
from mmwsss.structures.mask_values import parse_mask_values
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import sha256_of_json

LAYOUTS = ('voc', 'folder')
LABEL_SOURCES = ('auto', 'json', 'xml', 'mask')
# Names that stand for "wherever the layout has it"; any other name in a config is one that somebody chose.
DEFAULT_NAMES = {
    'img_dir': (None, VOC_IMAGES, FOLDER_IMAGES), 'mask_dir': (None, VOC_MASKS, FOLDER_MASKS),
    'saliency_dir': (None, SALIENCY), 'ann_dir': (None, VOC_XML), 'label_file': (None, *LABEL_FILES, 'auto', 'json')}
TYPES = {'voc': 'VOCImageLabelDataset', 'folder': 'ImageLabelDataset'}
# What a stage may read of a data set, see DataFolder.fingerprint.
PARTS = ('images', 'labels', 'masks', 'saliency')


@dataclass(frozen=True)
class DataFolder:
    """A data set on disk, in one of two layouts.

    - ``'voc'``: ``JPEGImages``, ``SegmentationClass``, ``Annotations``, ``ImageSets``, see
      :class:`mmwsss.datasets.VOCImageLabelDataset`.
    - ``'folder'``: a folder of images with sub folders or not and one file of image-level labels, see
      :class:`mmwsss.datasets.ImageLabelDataset`; masks in ``masks``.

    Nothing is read before it is asked for, and nothing is kept: every method looks at the disk as it is then.
    :meth:`find` makes one; all that works on data takes one, or the path of its root.

    Attributes:
        root: Folder of the data set. The other paths are below it or absolute.
        layout: ``'voc'`` or ``'folder'``.
        img_dir: Folder of the images.
        mask_dir: Folder of the ``<stem>.png`` masks; it need not exist.
        saliency_dir: Folder of the ``<stem>.png`` saliency maps, likewise.
        ann_dir: Folder of the XML annotations, likewise.
        label_file: csv, json or txt file of the image-level labels; ``None``: the one that is there.
        label_source: In VOC layout without ``label_file``: ``'json'``, ``'xml'``, ``'mask'`` or ``'auto'``.
        class_list: Names of the foreground classes as they were said; ``None``: see :attr:`classes`.
        missing_label: What data sets do about images without label, see :class:`mmwsss.datasets.ImageLabelDataset`;
            ``None``: what their configs say.
        mask_values: Value in a mask -> class (0 background, k + 1 for class k, 255 ignore), for masks that are stored
            otherwise, see :func:`mmwsss.structures.label_file.read_label`.
    """

    root: Path
    layout: str
    img_dir: str
    mask_dir: str
    saliency_dir: str = SALIENCY
    ann_dir: str = VOC_XML
    label_file: str | None = None
    label_source: str = 'auto'
    class_list: tuple[str, ...] | None = None
    missing_label: str | None = None
    mask_values: Mapping[Any, int] | None = None

    def __post_init__(self) -> None:
        if self.mask_values is not None:
            object.__setattr__(self, 'mask_values', parse_mask_values(self.mask_values))
        object.__setattr__(self, 'root', Path(self.root))
        if self.layout not in LAYOUTS:
            raise UserError(f'layout: must be one of {", ".join(LAYOUTS)}, not {self.layout!r}')
        if self.class_list is not None:
            object.__setattr__(self, 'class_list', load_classes(self.root, self.class_list))

    @classmethod
    def find(cls, root: 'str | os.PathLike | DataFolder', layout: str | None = None, *, img_dir: str | None = None,
             mask_dir: str | None = None, saliency_dir: str | None = None, ann_dir: str | None = None,
             label_file: str | None = None, classes: Sequence[str] | None = None, missing_label: str | None = None,
             mask_values: Mapping[Any, int] | None = None) -> 'DataFolder':
        """Describes the data set of a folder; what is not said is found.

        The layout is VOC's where there is a folder ``JPEGImages`` or nothing tells otherwise; else that of a folder of
        images, if there is one named ``images`` or ``img_dir`` and a label file (of :data:`LABEL_FILES`, or the
        ``label_file`` said), or no label at all.

        Args:
            root: Folder of the data set. Of a :class:`DataFolder`, a copy in which what is said here is replaced.
            layout: ``'voc'`` or ``'folder'``.
            img_dir: Folder of the images.
            mask_dir: Folder of the masks.
            saliency_dir: Folder of the saliency maps.
            ann_dir: Folder of the XML annotations.
            label_file: File of the image-level labels.
            classes: Names of the foreground classes.
            missing_label: See the attribute.
            mask_values: See the attribute.

        Raises:
            UserError: If there is no such folder, or what is said is wrong.
        """
        said = dict(layout=layout, saliency_dir=saliency_dir, ann_dir=ann_dir, label_file=label_file,
                    class_list=classes, missing_label=missing_label, mask_values=mask_values)
        said |= dict(img_dir=img_dir and os.fspath(img_dir), mask_dir=mask_dir and os.fspath(mask_dir))
        said = {name: value for name, value in said.items() if value is not None}
        if isinstance(root, DataFolder):
            return dataclasses.replace(root, **said)
        root = Path(root)
        if not root.is_dir():
            raise UserError(f'{root}: no such folder; name that of the data set (--data-root)')
        said.setdefault('layout', _find_layout(root, said.get('img_dir'), label_file))
        is_voc = said['layout'] == 'voc'
        said.setdefault('img_dir', VOC_IMAGES if is_voc else _find_image_folder(root))
        if 'mask_dir' not in said:
            names = (VOC_MASKS, FOLDER_MASKS) if is_voc else (FOLDER_MASKS, VOC_MASKS)
            said['mask_dir'] = next((name for name in names if (root / name).is_dir()), names[0])
        return cls(root=root, **said)

    @classmethod
    def of_dataset(cls, dataset: Mapping[str, Any]) -> 'DataFolder':
        """Describes the data that the config of a data set names, the inverse of :meth:`dataset_config`.

        Args:
            dataset: Config of one of our data sets, in DATASETS, or of one wrapped around it.
        """
        while 'data_root' not in dataset and (dataset.get('dataset') or dataset.get('datasets')):
            dataset = dataset.get('dataset') or dataset['datasets'][0]
        source = dataset.get('label_source')
        is_file = source is not None and source not in LABEL_SOURCES
        folder = cls.find(dataset.get('data_root') or '.', 'folder' if _kind(dataset) == 'folder' else None,
                          img_dir=dataset.get('img_dir'), mask_dir=dataset.get('seg_dir') or dataset.get('mask_dir'),
                          saliency_dir=dataset.get('saliency_dir'), ann_dir=dataset.get('ann_dir'),
                          label_file=source if is_file else dataset.get('label_file'), classes=dataset.get('classes'),
                          missing_label=dataset.get('missing_label'), mask_values=dataset.get('mask_values'))
        return folder if is_file or source is None else dataclasses.replace(folder, label_source=source)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the C foreground classes: as they were said, of ``classes.txt``, or of a COCO json.

        Raises:
            UserError: If there are none, see :func:`mmwsss.datasets.load_classes`.
        """
        return load_classes(self.root, self.class_list, self.label_file)

    @property
    def has_classes(self) -> bool:
        """Whether :attr:`classes` were said or have a ``classes.txt``; VOC itself has none."""
        return self.class_list is not None or (self.root / CLASS_LIST).exists()

    @property
    def images_path(self) -> Path:
        """Folder of the images."""
        return self.root / self.img_dir

    @property
    def masks_path(self) -> Path:
        """Folder of the masks."""
        return self.root / self.mask_dir

    @property
    def saliency_path(self) -> Path:
        """Folder of the saliency maps."""
        return self.root / self.saliency_dir

    def splits(self) -> list[str]:
        """Returns the names of the splits that are there, see :func:`mmwsss.datasets.find_split`."""
        return sorted({path.stem for folder in SPLIT_FOLDERS for path in (self.root / folder).glob('*.txt')})

    def stems(self, split: str | None) -> list[str]:
        """Returns the images of a split, see :func:`mmwsss.datasets.read_split`; ``None``: of all there are."""
        return read_split(self.root, split, self.img_dir)

    def stems_with_image(self, split: str | None) -> list[str]:
        """Returns those of :meth:`stems` whose image is there; a list may name others too."""
        images = self.image_paths()
        return [stem for stem in self.stems(split) if stem in images]

    def image_paths(self) -> dict[str, str]:
        """Returns stem -> path of every image, sub folders included; empty without a folder of images."""
        return find_files_anywhere(self.images_path, IMAGE_EXTENSIONS)

    def mask_paths(self) -> dict[str, str]:
        """Returns stem -> path of every mask, likewise."""
        return find_files_anywhere(self.masks_path, MAP_EXTENSIONS)

    def mask_path(self, stem: str) -> Path:
        """Returns where the mask of an image is, or belongs."""
        path = label_path(self.masks_path, stem)
        return path if path.exists() else Path(self.mask_paths().get(stem, path))

    def saliency_paths(self) -> dict[str, str]:
        """Returns stem -> path of every saliency map, likewise."""
        return find_files_anywhere(self.saliency_path, MAP_EXTENSIONS)

    def has_masks(self, split: str | None) -> bool:
        """Returns whether any image of a split has a ground truth mask."""
        masks = self.mask_paths()
        return any(stem in masks for stem in self.stems(split))

    def labels(self) -> Path | None:
        """Returns the file or folder that image-level labels are read from, ``None`` where there is none.

        Raises:
            UserError: If a folder of images has several files of labels, and none of them was said.
        """
        if self.label_file is not None:
            return self.root / self.label_file
        if self.layout == 'folder':
            return find_label_file(self.root)
        places = {'json': self.root / JSON_LABELS, 'xml': self.root / self.ann_dir, 'mask': self.masks_path}
        if self.label_source != 'auto':
            return places[self.label_source]
        if places['json'].is_file():
            return places['json']
        return next((place for place in (places['xml'], places['mask']) if place.is_dir()), None)

    def image_labels(self, stems: Sequence[str]) -> dict[str, list[str] | None]:
        """Reads the class names of images where a file of labels or XML files tell them; empty where none does.

        Raises:
            UserError: See :meth:`labels`, :func:`mmwsss.datasets.read_label_file` and
                :func:`mmwsss.datasets.read_xml_labels`.
        """
        labels = self.labels()
        if labels is None or labels == self.masks_path:
            return {}
        if labels.is_dir():
            files = find_files(labels, ('.xml',))
            return {stem: read_xml_labels(files[stem]) for stem in stems if stem in files}
        return read_labels(labels)

    def check_images(self, split: str | None) -> None:
        """Refuses a split of which there is no image at all, see :func:`mmwsss.datasets.layout.check_images`."""
        check_images(self.root, split, self.img_dir)

    def check_output_dir(self, out_dir: str | os.PathLike) -> None:
        """Refuses a folder of the data set as a place for label maps and the like.

        Raises:
            UserError: If ``out_dir`` is one of the folders of the data or lies in one.
        """
        check_output_dir(out_dir, self.root, self.img_dir, self.mask_dir, self.saliency_dir, self.ann_dir)

    def describe(self) -> str:
        """Returns one line that says what was found."""
        kinds = {'voc': 'VOC layout', 'folder': 'folder of images'}
        labels = self.labels()
        parts = [f'{len(self.image_paths())} images in {self.img_dir}', f'{len(self.mask_paths())} masks',
                 f'labels from {labels.name}' if labels else 'no labels']
        if splits := self.splits():
            parts.append(f'splits {", ".join(splits)}')
        return f'{self.root}: {kinds[self.layout]}, {", ".join(parts)}'

    def dataset_config(self, dataset: Mapping[str, Any]) -> Any:
        """Fits the config of a data set to this data.

        Type and folders become those of the layout. A folder or label file that the config names itself stays, if it
        is none of :data:`DEFAULT_NAMES` and none was said here; so does everything else, such as the split.

        Args:
            dataset: Config of a data set in DATASETS. Wrapped ones are fitted inside; those that are not ours stay as
                they are.

        Returns:
            The config, of the same type (dict or ConfigDict).
        """
        fitted = type(dataset)(dataset)
        if fitted.get('dataset') is not None:
            fitted['dataset'] = self.dataset_config(fitted['dataset'])
        if fitted.get('datasets') is not None:
            fitted['datasets'] = [self.dataset_config(part) for part in fitted['datasets']]
        kind = _kind(fitted)
        if kind is None:
            return fitted
        fitted['data_root'] = str(self.root)
        mask_key = 'seg_dir' if kind == 'seg' else 'mask_dir'
        for key, name in (('img_dir', 'img_dir'), (mask_key, 'mask_dir'), ('saliency_dir', 'saliency_dir')):
            own, given = getattr(self, name), fitted.get(key)
            if own not in DEFAULT_NAMES[name] or given in DEFAULT_NAMES[name]:
                fitted[key] = own
        if kind not in ('seg', self.layout):
            fitted['type'] = TYPES[self.layout]
        if kind != 'seg':
            self._fit_labels(fitted)
            if self.missing_label is not None:
                fitted['missing_label'] = self.missing_label
        fitted.setdefault('recursive', True)  # as the images of a split are listed here
        if self.class_list is not None or (self.label_file is not None and not self.has_classes):
            fitted['classes'] = list(self.classes)
        if self.mask_values is not None and fitted[mask_key] == self.mask_dir:
            fitted['mask_values'] = dict(self.mask_values)
        return fitted

    def _fit_labels(self, fitted: Any) -> None:
        """Says where a data set has its image-level labels from."""
        given = [fitted.pop(key, None) for key in ('label_file', 'label_source')]
        chosen = self.label_file or next((name for name in given if name not in DEFAULT_NAMES['label_file']), None)
        if chosen is None and self.layout == 'folder':
            chosen = next((name for name in given if name and (self.root / name).is_file()), None)
        ann_dir, use_difficult = fitted.pop('ann_dir', None), fitted.pop('use_difficult', None)
        if self.layout == 'folder':
            file = (self.root / chosen) if chosen not in (None, *LABEL_SOURCES) else self.labels()
            fitted['label_file'] = None if file is None else os.path.relpath(file, self.root) \
                if file.is_relative_to(self.root) else str(file)
            return
        fitted['label_source'] = chosen or self.label_source
        fitted['ann_dir'] = ann_dir if self.ann_dir == VOC_XML and ann_dir is not None else self.ann_dir
        if use_difficult is not None:
            fitted['use_difficult'] = use_difficult

    def fingerprint(self, stems: Sequence[str], what: Collection[str] = ('images', 'labels')) -> str:
        """Returns a digest of what a stage reads of some images; it changes when the content of a file does.

        Args:
            stems: The images; their order counts.
            what: Of :data:`PARTS`. ``'labels'`` are the file of labels, or else the images' XML files or masks.

        Returns:
            Hex sha256. Neither the place of the data nor the time of a file is in it, so data may be copied.
        """
        if unknown := set(what) - set(PARTS):
            raise ValueError(f'fingerprint: what must be of {PARTS}, not {sorted(unknown)}')
        wanted, files = set(stems), {}
        places = dict(images=(self.images_path, IMAGE_EXTENSIONS), masks=(self.masks_path, MAP_EXTENSIONS),
                      saliency=(self.saliency_path, MAP_EXTENSIONS))
        labels = self.labels() if 'labels' in what else None
        if labels is not None and labels.is_dir():
            places['labels'] = labels, ('.xml', *MAP_EXTENSIONS)
        elif labels is not None and labels.is_file():
            files['labels'] = {labels.name: str(labels)}
        for part in (part for part in PARTS if part in what and part in places):
            files[part] = {stem: path for stem, path in find_files_anywhere(*places[part]).items() if stem in wanted}
        digests = file_digests([path for found in files.values() for path in found.values()])
        return sha256_of_json(dict(stems=list(stems), files={
            part: sorted((stem, digests[path]) for stem, path in found.items()) for part, found in files.items()}))


def _find_layout(root: Path, img_dir: str | None, label_file: str | None) -> str:
    if img_dir in (None, VOC_IMAGES) and (root / VOC_IMAGES).is_dir():
        return 'voc'
    if img_dir == VOC_IMAGES or (root / VOC_XML).is_dir():
        return 'voc'
    has_labels = label_file is not None or any(any(root.glob(pattern)) for pattern in LABEL_FILES)
    if img_dir is not None or (root / FOLDER_IMAGES).is_dir():
        # Without a file of labels they may come from the masks, as they do in VOC layout.
        return 'folder' if has_labels or not (root / VOC_MASKS).is_dir() else 'voc'
    return 'folder' if has_labels and _find_image_folder(root, default=None) else 'voc'


def _find_image_folder(root: Path, default: str | None = FOLDER_IMAGES) -> str | None:
    """Returns ``images``, or the one folder below the root that holds images and is no folder of maps."""
    if (root / FOLDER_IMAGES).is_dir():
        return FOLDER_IMAGES
    maps = {FOLDER_MASKS, VOC_MASKS, SALIENCY}
    found = [path.name for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith('.')
             and path.name not in maps and any(file.suffix.lower() in IMAGE_EXTENSIONS for file in path.iterdir())]
    return found[0] if len(found) == 1 else default


def _kind(dataset: Mapping[str, Any]) -> str | None:
    """Returns ``'voc'`` or ``'folder'`` for image-level labels, ``'seg'`` for masks, ``None`` for foreign data sets."""
    cls = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
    if not getattr(cls, 'RESOLVES_CLASSES', False):
        return None
    if cls.WITH_BACKGROUND:
        return 'seg'
    return getattr(cls, 'LAYOUT', None)
