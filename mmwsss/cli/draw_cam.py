"""``mmwsss draw cam``."""
import argparse

from mmwsss.cli.arguments import named_paths
from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = ('Draw the CAM files of a data set over their images: a picture of each image, with the map of every '
               'class; of several folders side by side, such as CAMs before and after refinement')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('cam_dirs', metavar='[NAME=]CAM_DIR', nargs='+', help='folders of CAM files, from mmwsss cam '
                        'or refine; of several, each is a column with the title NAME, and each class a row')
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='folder for the pictures, <stem>.png, and '
                        'manifest.json; pictures of an earlier call are replaced')
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
    from mmwsss.visualization.report_figure import cam_figure, open_cam_pictures
    data = data_folder(args)
    if min(1 if args.num_images is None else args.num_images, args.height) < 1:
        raise UserError('--num-images and --height must be at least 1')
    stems = data.stems(args.split)
    count = min(args.num_images or len(stems), len(stems))
    chosen = [stems[i * len(stems) // count] for i in range(count)]
    folders = named_paths(args.cam_dirs)
    missing = {stem: path for stem in chosen for path in (cam_path(folder, stem) for folder in folders.values())
               if not path.is_file()}
    for folder in folders.values():
        if not any(cam_path(folder, stem).is_file() for stem in chosen):
            raise UserError(f'{cam_path(folder, chosen[0])}: no such CAM file, nor of any other image; run mmwsss cam '
                            'with the same split')
    open_cam_pictures(args.out_dir, data)
    left_out = [(str(path), 'no such CAM file') for path in missing.values()]
    with progress_bar() as progress:
        for stem in progress.track([stem for stem in chosen if stem not in missing], description='pictures'):
            try:
                cam_figure(stem, data, folders, args.out_dir, args.height)
            except UserError as error:  # one damaged file, whose path comes first
                path, _, reason = str(error).partition(': ')
                left_out.append((path, reason))
    if len(left_out) == len(chosen):
        path, reason = left_out[-1]
        raise UserError(f'{path}: {reason} (and none of the {len(chosen)} images can be drawn)')
    return report_result(f'{args.out_dir}: {len(chosen) - len(left_out)} pictures', left_out)
