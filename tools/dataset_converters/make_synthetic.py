#!/usr/bin/env python
"""Writes generated scenes in VOC layout: data for demonstrations and tests."""
import argparse

from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets.synthetic.synthetic_dataset import generate_voc_layout
from mmwsss.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('out_dir', metavar='OUT_DIR', help='new or empty folder, or one to continue')
    parser.add_argument('--num-train', type=int, default=200, help='images of the split "train"')
    parser.add_argument('--num-val', type=int, default=60, help='images of the split "val"')
    parser.add_argument('--num-classes', type=int, default=5, help='foreground classes, 1 to 200')
    parser.add_argument('--size', type=int, nargs='+', default=[256], metavar='PIXELS',
                        help='long side of pictures of six shapes, or height and width of every picture')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--max-classes-per-image', type=int, default=3)
    parser.add_argument('--empty-habitats', type=float, default=.2, metavar='SHARE',
                        help='share of pictures with the background of a class that is not there')
    parser.add_argument('--no-ignore-border', action='store_true', help='masks without a rim of 255 around objects')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if len(args.size) > 2:
        raise UserError(f'--size takes one number or height and width, got {args.size}')
    root = generate_voc_layout(
        args.out_dir, num_train=args.num_train, num_val=args.num_val, num_classes=args.num_classes,
        size=args.size[0] if len(args.size) == 1 else tuple(args.size), seed=args.seed,
        max_classes_per_image=args.max_classes_per_image, empty_habitats=args.empty_habitats,
        ignore_border=not args.no_ignore_border, progress=True)
    print(f'{root}: {args.num_train} train and {args.num_val} val images, {args.num_classes} classes')


if __name__ == '__main__':
    run_cli(main)
