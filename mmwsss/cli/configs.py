"""``mmwsss configs``."""
import argparse

DESCRIPTION = ('List the configs that come with mmwsss. train, test, cam, ... take them by name: '
               'cam/cam_efflite0_small.py, or cam_efflite0_small.')
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('folder', nargs='?', metavar='FOLDER', help='only those of a folder, e.g. seam or pipelines')
    parser.add_argument('--paths', action='store_true', help='print the paths of the files')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.config.find import config_folder, list_configs
    from mmwsss.utils.errors import EXIT_DONE
    for name in list_configs(args.folder):
        print(config_folder() / name if args.paths else name)
    return EXIT_DONE
