"""``mmwsss draw cam``."""
import argparse

from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = 'Draw the CAM files of a data set over their images: a picture of each image, with the map of every class'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('cam_dir', metavar='CAM_DIR', help='folder of CAM files, from mmwsss cam or refine')
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='folder for the pictures, <stem>.png')
    parser.add_argument('--num-images', type=int, metavar='N', help='so many of them, evenly spread; default all')
    parser.add_argument('--height', type=int, default=240, metavar='PIXELS', help='of a picture; default %(default)s')
    add_split(parser)
    add_data_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.data import data_folder
    from mmwsss.cli.report_result import report_result
    from mmwsss.structures.cam_file import cam_path
    from mmwsss.utils.errors import UserError
    from mmwsss.utils.parallel import progress_bar
    from mmwsss.visualization.report_figure import cam_figure
    data = data_folder(args)
    if min(args.num_images or 1, args.height) < 1:
        raise UserError('--num-images and --height must be at least 1')
    stems = data.stems(args.split)
    count = min(args.num_images or len(stems), len(stems))
    chosen = [stems[i * len(stems) // count] for i in range(count)]
    missing = [stem for stem in chosen if not cam_path(args.cam_dir, stem).is_file()]
    if len(missing) == len(chosen):
        raise UserError(f'{cam_path(args.cam_dir, chosen[0])}: no such CAM file, nor of any other image; run mmwsss '
                        'cam with the same split')
    with progress_bar() as progress:
        for stem in progress.track([stem for stem in chosen if stem not in missing], description='pictures'):
            cam_figure(stem, data, args.cam_dir, args.out_dir, args.height)
    return report_result(f'{args.out_dir}: {len(chosen) - len(missing)} pictures',
                         [(str(cam_path(args.cam_dir, stem)), 'no such CAM file') for stem in missing])
