"""``mmwsss report``."""
import argparse

from mmwsss.cli.data import add_data_arguments

DESCRIPTION = ('Write one page (html) on the work folders of pipelines, side by side: stages, curves, classes, and a '
               'gallery of images with a slider for the background threshold. A pipeline writes that of its own.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('work_dirs', nargs='+', metavar='[NAME=]WORK_DIR', help='work folder of mmwsss pipeline')
    parser.add_argument('--out', metavar='FILE.html', help='the page; default report.html in the first folder')
    parser.add_argument('--num-images', type=int, default=200, metavar='N',
                        help='at most so many images in the gallery, evenly spread; default %(default)s')
    add_data_arguments(parser, required=False, root_help='folder of the data set; default: the one that the work '
                       'folders name')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.data import data_folder
    from mmwsss.experiments.report.page import write_report
    from mmwsss.utils.errors import EXIT_DONE
    path = write_report(args.work_dirs, args.out, data_folder(args), args.num_images)
    print(f'{path}: {path.stat().st_size / 1e6:.1f} MB')
    return EXIT_DONE
