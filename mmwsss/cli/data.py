"""The arguments that describe a user's data."""
import argparse
from typing import TYPE_CHECKING

from mmwsss.utils.errors import UserError

if TYPE_CHECKING:
    from mmwsss.datasets.data_folder import DataFolder


def add_data_arguments(parser: argparse.ArgumentParser, *, required: bool = True, root_help: str | None = None) -> None:
    """Adds the arguments that describe a data set: all of :meth:`mmwsss.datasets.DataFolder.find`."""
    group = parser.add_argument_group('data', 'A folder in VOC layout (JPEGImages, SegmentationClass, ImageSets, '
                                      'labels.json or Annotations), or a folder of images with a label file (images, '
                                      'labels.csv, masks). What is not said here is found. Folders are below the data '
                                      'root, or absolute.')
    group.add_argument('--data-root', metavar='DIR', required=required, help=root_help or 'folder of the data set')
    group.add_argument('--layout', choices=['voc', 'folder'], help='which of the two it is')
    group.add_argument('--img-dir', metavar='DIR', help='folder of the images (JPEGImages, images)')
    group.add_argument('--seg-dir', metavar='DIR', help='folder of the ground truth masks (SegmentationClass, masks)')
    group.add_argument('--saliency-dir', metavar='DIR', help='folder of the saliency maps (Saliency)')
    group.add_argument('--label-file', metavar='FILE', help='csv, json or txt file of the image-level labels, or '
                       "COCO's instances_*.json")
    group.add_argument('--classes', nargs='+', metavar='NAME', help='names of the foreground classes (classes.txt)')
    group.add_argument('--missing-label', choices=['error', 'skip', 'none'],
                       help='what to do about images without a label: stop, leave them out, or use them without')
    group.add_argument('--mask-values', nargs='+', metavar='VALUE=CLASS', action=_MaskValues,
                       help='what the values in the masks mean, where they are not 0 background, k + 1 class k, 255 '
                       'ignore; e.g. 255=1 for binary masks of one class')


class _MaskValues(argparse.Action):
    """``VALUE=CLASS ...`` as {value: class}; a value of masks in colour is three numbers, ``128,0,0=1``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list[str],
                 option_string: str | None = None) -> None:
        """Puts the dict into the namespace."""
        result = {}
        for text in values:
            value, _, number = text.partition('=')
            try:
                parts = tuple(int(part) for part in value.split(','))
                result[parts[0] if len(parts) == 1 else parts] = int(number)
            except ValueError:
                parser.error(f'{option_string} {text}: must be VALUE=CLASS, e.g. 255=1, or 128,0,0=1 for a colour')
            if len(parts) not in (1, 3):
                parser.error(f'{option_string} {text}: a colour is three numbers, e.g. 128,0,0=1')
        setattr(namespace, self.dest, result)


def data_folder(args: argparse.Namespace) -> 'DataFolder | None':
    """Returns the data set that the arguments of :func:`add_data_arguments` describe; ``None`` without a root.

    Raises:
        UserError: If something else is said of the data, but not where it is; see also ``DataFolder.find``.
    """
    from mmwsss.datasets.data_folder import DataFolder
    said = dict(layout=args.layout, img_dir=args.img_dir, mask_dir=args.seg_dir, saliency_dir=args.saliency_dir,
                label_file=args.label_file, classes=args.classes, missing_label=args.missing_label,
                mask_values=args.mask_values)
    if args.data_root is not None:
        return DataFolder.find(args.data_root, **said)
    if given := [name for name, value in said.items() if value is not None]:
        option = {'mask_dir': 'seg_dir'}.get(given[0], given[0]).replace('_', '-')
        raise UserError(f'--{option}: says something of a data set; name it with --data-root')
    return None


def check_named_masks(args: argparse.Namespace, data: 'DataFolder | None') -> None:
    """Refuses a ``--seg-dir`` that is not there: data without masks are no mistake, a misspelt folder is one.

    Args:
        args: Of :func:`add_data_arguments`.
        data: What :func:`data_folder` returns for them.

    Raises:
        UserError: If the folder was named and is not there.
    """
    if args.seg_dir is not None and not data.masks_path.is_dir():
        raise UserError(f'{data.masks_path}: no such folder; correct --seg-dir, a folder below the data root or an '
                        'absolute path')


def add_split(parser: argparse.ArgumentParser, default: str = 'all images') -> None:
    """Adds ``--split``."""
    parser.add_argument('--split', metavar='NAME', help=f'name of the split, or a .txt list; default: {default}')
