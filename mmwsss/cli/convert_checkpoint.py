"""``mmwsss convert checkpoint``."""
import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from mmwsss.converters import Conversion

DESCRIPTION = ('Convert a checkpoint of an original repository into one of mmwsss. Every key is mapped, found to '
               'repeat another one, or left out for a stated reason; anything else is an error.')
# Names and titles of mmwsss.converters.SOURCES, whose import takes seconds; a test compares.
SOURCES = {
    'seam': "SEAM's network", 'psa': "PSA's classifier", 'affinitynet': 'AffinityNet, of PSA or SEAM',
    'irnet_cam': "IRNet's CAM network", 'irnet': "IRNet's network of edges and displacements",
    'resnet38_mxnet': "MXNet's ResNet38 of ImageNet",
    'resnet50_caffe': "ImageNet's ResNet50 in caffe style", 'resnet101_caffe': "ImageNet's ResNet101 in caffe style",
    'resnet50_torchvision': "ImageNet's ResNet50 in torchvision style",
    'resnet101_torchvision': "ImageNet's ResNet101 in torchvision style",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('src', metavar='SRC', type=Path, help='original file')
    parser.add_argument('dst', metavar='DST', type=Path, help='checkpoint to write')
    parser.add_argument('--source', required=True, choices=list(SOURCES), help='what SRC is: ' + '; '.join(
        f'{name}: {title}' for name, title in SOURCES.items()))
    parser.add_argument('--classes-file', metavar='FILE', type=Path,
                        help='names of the foreground classes, one a line; default: the 20 of PASCAL VOC')
    parser.add_argument('--channels', choices=('bgr', 'rgb'), help="order of the channels of the images that DST is "
                        "for, of an ImageNet ResNet; default: SRC's, BGR in caffe style and RGB in torchvision's")
    parser.add_argument('--trust-pickle', action='store_true', help='unpickle SRC even if it holds other Python '
                        'objects than tensors. This runs code from the file: only for files whose source you trust')


def coverage_table(conversion: 'Conversion', title: str) -> 'Table':
    """Shows what became of every key."""
    from collections import defaultdict

    from rich.table import Table
    from rich.text import Text
    table = Table(title=Text(title), show_footer=True)
    total = len(conversion.mapped) + len(conversion.aliases) + len(conversion.left_out)
    table.add_column('keys', footer='all keys')
    table.add_column('number', footer=str(total), justify='right')
    table.add_column('what became of them')
    table.add_row('mapped', str(len(conversion.mapped)),
                  f'to as many of the {len(conversion.state_dict)} keys of mmwsss')
    for key, (rows, reason) in conversion.left_out_rows.items():
        table.add_row('', '', Text(f'{key} without its first {"row" if rows == 1 else f"{rows} rows"}: {reason}'))
    if conversion.zeros:
        table.add_row('', '', f'{len(conversion.zeros)} num_batches_tracked, which are not in the file, are 0')
    table.add_row('aliases', str(len(conversion.aliases)), 'hold the same values as a key that is mapped')
    by_reason = defaultdict(list)
    for key, reason in conversion.left_out.items():
        by_reason[reason].append(key)
    for reason, keys in by_reason.items() or [('', [])]:
        table.add_row('left out', str(len(keys)), Text(f'{", ".join(keys)}: {reason}' if keys else ''))
    return table


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.converters.convert_file import convert_file
    from mmwsss.utils.console import make_console
    from mmwsss.utils.errors import EXIT_DONE
    conversion, title = convert_file(args.source, args.src, args.dst, args.classes_file, args.trust_pickle,
                                     args.channels)
    make_console().print(coverage_table(conversion, f'{title} in {args.src}'))
    print(f'{args.dst}: written')
    return EXIT_DONE
