"""Converts an original checkpoint: python tools/model_converters/convert.py --source NAME SRC DST."""
import argparse
import io
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmwsss.cli.run_cli import run_cli
from mmwsss.converters import SOURCES, Conversion, convert, load_torch_weights
from mmwsss.datasets.layout import read_text
from mmwsss.engine.checkpoint import extract_state_dict
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_bytes

# The classes of the released checkpoints, in their order.
VOC_CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
               'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Convert a checkpoint of an original repository into one of mmwsss. Every key is mapped, found to '
                    'repeat another one, or left out for a stated reason; anything else is an error.')
    parser.add_argument('src', metavar='SRC', type=Path, help='original file')
    parser.add_argument('dst', metavar='DST', type=Path, help='checkpoint to write')
    parser.add_argument('--source', required=True, choices=list(SOURCES), help='what SRC is: ' + '; '.join(
        f'{name}: {source.title}' for name, source in SOURCES.items()))
    parser.add_argument('--classes-file', type=Path, help='names of the foreground classes, one a line; default: the '
                        '20 of PASCAL VOC')
    parser.add_argument('--trust-pickle', action='store_true', help='unpickle SRC even if it holds other Python '
                        'objects than tensors. This runs code from the file: only for files whose source you trust')
    return parser.parse_args()


def unpickle(path: Path) -> dict[str, torch.Tensor]:
    """Returns the state dict of any file that ``torch.save`` has written, by running the code in it."""
    if not path.is_file():
        raise UserError(f'{path}: no such checkpoint file; check the path')
    print(f'{path}: unpickled because of --trust-pickle, which runs code from the file', file=sys.stderr)
    try:
        content: Any = torch.load(path, map_location='cpu', weights_only=False)
    except Exception as error:  # what the code in the file may raise
        raise UserError(f'{path}: cannot be unpickled ({type(error).__name__}: {error}); copy it again, or convert it '
                        'where the code of its repository can be imported') from error
    if isinstance(content, torch.nn.Module):
        content = content.state_dict()
    return extract_state_dict(content, path)


def class_names(num_classes: int, path: Path | None, src: Path) -> tuple[str, ...]:
    """Returns the names for ``num_classes`` classes, from a file or those of VOC."""
    if path is None:
        if num_classes != len(VOC_CLASSES):
            raise UserError(f'{src}: has {num_classes} classes, so they are not those of PASCAL VOC; name them with '
                            '--classes-file')
        return VOC_CLASSES
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if len(names) != num_classes or len(set(names)) < len(names):
        raise UserError(f'{path}: must name the {num_classes} foreground classes of {src}, one a line and each once, '
                        f'but has {len(names)} lines ({len(set(names))} different)')
    return names


def coverage_table(conversion: Conversion, title: str) -> Table:
    """Shows what became of every key."""
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


def main() -> None:
    args = parse_args()
    source = SOURCES[args.source]
    if args.trust_pickle and source.load is not load_torch_weights:
        raise UserError(f'--trust-pickle: a file of {args.source} is no pickle; leave the option out')
    if args.dst.exists() and args.src.exists() and args.dst.samefile(args.src):
        raise UserError(f'{args.dst}: is the original; give another DST')
    conversion = convert(source, unpickle(args.src) if args.trust_pickle else source.load(args.src), args.src)
    checkpoint: dict[str, Any] = dict(state_dict=conversion.state_dict, meta={})
    if conversion.num_classes is not None:
        names = class_names(conversion.num_classes, args.classes_file, args.src)
        checkpoint['meta'] = dict(dataset_meta=dict(classes=names))
    elif args.classes_file:
        raise UserError(f'--classes-file: {args.source} has no classes; leave the option out')
    buffer = io.BytesIO()  # of a full disk torch.save gives no OSError, and it writes a file's name into the file
    torch.save(checkpoint, buffer)
    args.dst.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(args.dst, buffer.getvalue())
    Console().print(coverage_table(conversion, f'{source.title} in {args.src}'))
    print(f'{args.dst}: written')


if __name__ == '__main__':
    run_cli(main)
