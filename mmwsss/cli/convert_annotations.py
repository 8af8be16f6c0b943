"""``mmwsss convert annotations``."""
import argparse

from mmwsss.cli.arguments import add_num_workers

PROGRAMS = ('labelme', 'labelimg', 'cvat', 'folders')
DESCRIPTION = ('Write images and what a labelling program knows of them as a data set in VOC layout, once for '
               'each split into one folder. labelme: a folder of its .json files. labelimg: a folder of VOC .xml, '
               'or of YOLO .txt with classes.txt. cvat: the XML of the export "CVAT for images". folders: a folder '
               'for each class. A classes.txt that is there gives the classes and their order')
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('program', metavar='PROGRAM', choices=PROGRAMS, help=', '.join(PROGRAMS))
    parser.add_argument('source', metavar='SOURCE', help='folder or file of the annotations')
    parser.add_argument('--images', metavar='DIR', help='folder of the images; default: that of the annotations')
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='folder of the data set')
    parser.add_argument('--split', metavar='NAME', default='train', help='name of the split (default: %(default)s)')
    parser.add_argument('--masks', action='store_true',
                        help='also masks of polygons, circles and painted areas: the smaller of two objects on top')
    parser.add_argument('--copy', action='store_true', help='copy the images instead of linking to them')
    add_num_workers(parser, 'processes that draw masks')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.annotations import annotations_to_voc
    summary = annotations_to_voc(args.program, args.source, args.out_dir, args.images, args.split, args.masks,
                                 args.copy, args.num_workers)
    message = (f'{args.out_dir}: {summary["num_images"]} images in the split {summary["split"]}, '
               f'{summary["num_classes"]} classes')
    if args.masks:
        message += f', {summary["num_masks"]} masks'
    if summary['num_unlabelled']:
        message += f'; {summary["num_unlabelled"]} images have no class, and are labelled so'
    return report_result(message, summary['skipped'])
