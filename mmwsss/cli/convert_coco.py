"""``mmwsss convert coco``."""
import argparse

from mmwsss.cli.arguments import add_num_workers

DESCRIPTION = ('Write images and an instances_*.json of COCO as a data set in VOC layout; once for each split into one '
               'folder. A classes.txt that is there gives the classes and their order')
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('images_dir', metavar='IMAGES_DIR', help='folder of the images')
    parser.add_argument('instances_json', metavar='INSTANCES_JSON',
                        help='the annotations, e.g. instances_train2017.json')
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='folder of the data set')
    parser.add_argument('--split', metavar='NAME',
                        help='name of the split, e.g. train; default: that of the json without instances_')
    parser.add_argument('--masks', action='store_true',
                        help='also masks: the smaller of two objects on top, crowds 255 below all objects')
    parser.add_argument('--copy', action='store_true', help='copy the images instead of linking to them')
    parser.add_argument('--no-crowd', action='store_true', help='no label from regions marked iscrowd')
    add_num_workers(parser, 'processes that draw masks')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.coco.coco_to_voc import coco_to_voc
    summary = coco_to_voc(args.images_dir, args.instances_json, args.out_dir, args.split, args.masks, args.copy,
                          not args.no_crowd, args.num_workers)
    message = (f'{args.out_dir}: {summary["num_images"]} images in the split {summary["split"]}, '
               f'{summary["num_classes"]} classes')
    if summary['num_unlabelled']:
        message += f'; {summary["num_unlabelled"]} images have no class, and are labelled so'
    return report_result(message, summary['skipped'])
