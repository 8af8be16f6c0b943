#!/usr/bin/env python
"""COCO in VOC layout: coco_to_voc.py IMAGES_DIR INSTANCES_JSON --out-dir DIR [--split NAME] [--masks]."""
import argparse

from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets.coco.coco_to_voc import coco_to_voc


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write images and an instances_*.json of COCO as a data set in VOC layout; once for each split '
                    'into one folder. A classes.txt that is there gives the classes and their order')
    parser.add_argument('images_dir', help='folder of the images')
    parser.add_argument('instances_json', help='the annotations, e.g. instances_train2017.json')
    parser.add_argument('--out-dir', required=True, help='folder of the data set')
    parser.add_argument('--split', help='name of the split, e.g. train; default: that of the json without instances_')
    parser.add_argument('--masks', action='store_true',
                        help='also masks: the smaller of two objects on top, crowds 255 below all objects')
    parser.add_argument('--copy', action='store_true', help='copy the images instead of linking to them')
    parser.add_argument('--no-crowd', action='store_true', help='no label from regions marked iscrowd')
    parser.add_argument('--num-workers', type=int, metavar='N',
                        help='processes that draw masks; default one per CPU, 0 = none')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    summary = coco_to_voc(args.images_dir, args.instances_json, args.out_dir, args.split, args.masks, args.copy,
                          not args.no_crowd, args.num_workers)
    message = (f'{args.out_dir}: {summary["num_images"]} images in the split {summary["split"]}, '
               f'{summary["num_classes"]} classes')
    if summary['num_unlabelled']:
        message += f'; {summary["num_unlabelled"]} images have no class, and are labelled so'
    return report_result(message, summary['omissions'])


if __name__ == '__main__':
    run_cli(main)
