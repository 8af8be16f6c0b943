"""``mmwsss browse``."""
import argparse
from pathlib import Path

from mmwsss.cli.arguments import add_cfg_options, add_config
from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = ("Draw what a training gets: images of a data set after the random steps of a config's pipeline, "
               'several views of each, with their labels, as one picture')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser)
    parser.add_argument('--out', metavar='FILE', help='.png to write; default work_dirs/browse_<config name>.png')
    parser.add_argument('--num-images', type=int, default=12, metavar='N',
                        help='images, evenly spread over the data (default: %(default)s)')
    parser.add_argument('--views', type=int, default=3, metavar='N', help='views of each image (default: %(default)s)')
    parser.add_argument('--test', action='store_true', help='the data of the test, in place of that of the training')
    parser.add_argument('--labels', metavar='DIR', help='folder of the pseudo labels that a segmentor is trained on; '
                        'default: the ground truth')
    add_split(parser, "the config's")
    add_data_arguments(parser, required=False, root_help="folder of the data set; replaces the config's data_root")
    add_cfg_options(parser, 'settings that override the config')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.browse import browse
    from mmwsss.cli.data import data_folder
    from mmwsss.config.config import load_config
    from mmwsss.utils.errors import EXIT_DONE, UserError
    for name, value in (('--num-images', args.num_images), ('--views', args.views)):
        if value < 1:
            raise UserError(f'{name} {value}: must be at least 1')
    cfg = load_config(args.config, data_folder(args), args.cfg_options)
    name = 'test_dataloader' if args.test else 'train_dataloader'
    if cfg.get(name):
        if args.split is not None:
            cfg[name].dataset.split = args.split
        if args.labels is not None:
            cfg[name].dataset.seg_dir = str(Path(args.labels).absolute())
    out = args.out or Path('work_dirs', f'browse_{Path(args.config).stem}.png')
    count = browse(cfg, out, args.num_images, args.views, name)
    print(f'{out}: {count} images, {args.views} views of each')
    return EXIT_DONE
