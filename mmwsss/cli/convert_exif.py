"""``mmwsss convert exif``."""
import argparse

DESCRIPTION = ('Write images anew without their EXIF orientation, for masks that were drawn on the pixels as they are '
               'stored')
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('images_dir', metavar='IMAGES_DIR', help='folder of the images, with sub folders')
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='folder to write')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.exif import drop_orientation
    summary = drop_orientation(args.images_dir, args.out_dir)
    return report_result(f'{args.out_dir}: {summary["num_images"]} images, of {summary["num_changed"]} the EXIF '
                         'orientation was taken out', summary['skipped'])
