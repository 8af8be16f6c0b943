"""Judges CAM files or label files: python tools/eval_cam.py CAM_DIR --data-root DIR [--split NAME]."""
import argparse
from pathlib import Path

from rich.console import Console

from mmwsss.apis import evaluate
from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets import DataFolder
from mmwsss.datasets.layout import describe_split
from mmwsss.evaluation.evaluation_report import report_table
from mmwsss.utils.fileio import write_json
from mmwsss.visualization.curve import plot_curve


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Judge a folder of CAM files at every background threshold, or a folder of label PNGs, by the '
                    'ground truth masks of the data set. Without masks nothing is done.')
    parser.add_argument('cam_dir', metavar='CAM_DIR', help='folder of <stem>.npz CAM files or <stem>.png labels')
    parser.add_argument('--data-root', required=True, help='folder of the data set')
    parser.add_argument('--split', help='name of the split, or a .txt list; default: all images')
    parser.add_argument('--img-dir', help='folder of the images, below the data root or absolute; default the one '
                        'that is there')
    parser.add_argument('--out', help='json file for the report; its values are fractions')
    parser.add_argument('--plot', help='picture of the curve over the threshold (.png, .pdf or .svg)')
    parser.add_argument('--num-workers', type=int, help='processes; default one per CPU')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='names of the foreground classes; default '
                        "classes.txt of the data set, or the CAM folder's")
    parser.add_argument('--seg-dir', help='folder of the masks, below the data root or absolute; default the one that '
                        'is there')
    parser.add_argument('--missing', choices=['error', 'skip'], default='error',
                        help='what to do about a readable image without CAM or label (default: %(default)s)')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    data = DataFolder.find(args.data_root, img_dir=args.img_dir, mask_dir=args.seg_dir, classes=args.classes)
    if not data.has_masks(args.split):
        print(f'{data.masks_path}: no ground truth masks of {describe_split(args.split)}, so the '
              'evaluation is skipped')
        return 0
    report = evaluate(args.cam_dir, data, args.split, num_workers=args.num_workers, missing=args.missing)
    title = f'{args.cam_dir} on {args.split or "all images"}'
    Console().print(report_table(report, title))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, report)
    if args.plot:
        plot_curve(report, args.plot, title)
    threshold = report['threshold']
    at = '' if threshold is None else f' at the oracle threshold {threshold:g}'
    return report_result(f'mIoU {100 * report["mIoU"]:.2f} %{at}, {report["num_images"]} images',
                         report['omissions'])


if __name__ == '__main__':
    run_cli(main)
