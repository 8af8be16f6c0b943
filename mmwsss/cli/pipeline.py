"""``mmwsss pipeline``."""
import argparse

from mmwsss.cli.arguments import add_auto_scale_lr, add_cfg_options, add_config, add_launcher, add_weights
from mmwsss.cli.data import add_data_arguments

DESCRIPTION = 'Run the stages of a pipeline, from photographs to a segmentor; complete ones are reused'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser, 'a pipeline')
    parser.add_argument('--work-dir', metavar='DIR', help='folder of the stages and the report')
    parser.add_argument('--dry-run', action='store_true', help='build and run every stage with two images and one '
                        'iteration, and tell which ones work and what a real run would miss; without --data-root on '
                        'generated pictures. Weights that are not there are random')
    parser.add_argument('--side', type=int, metavar='PX', help='with --dry-run: crops of at most so many pixels, for a '
                        'quick one without a GPU')
    add_weights(parser)
    add_auto_scale_lr(parser, 'of every training: ')
    add_cfg_options(parser, 'settings that override the pipeline config')
    add_launcher(parser)
    add_data_arguments(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.data import data_folder
    from mmwsss.config.find import find_config
    from mmwsss.experiments.pipeline import run_dry, run_pipeline
    from mmwsss.experiments.weights import parse_weights
    from mmwsss.utils.errors import UserError
    config, data, weights = find_config(args.config, 'pipelines'), data_folder(args), parse_weights(args.weights)
    if args.dry_run:
        if args.launcher != 'none':
            raise UserError('--dry-run: runs in one process; leave out --launcher')
        if args.auto_scale_lr:
            raise UserError('--auto-scale-lr: a --dry-run trains with a rate of 0; leave it out')
        return run_dry(config, data, args.work_dir, weights, args.cfg_options, args.side)
    if args.side is not None:
        raise UserError('--side: goes with --dry-run only')
    for option, value in (('--data-root', data), ('--work-dir', args.work_dir)):
        if value is None:
            raise UserError(f'{option}: must be given, unless for a --dry-run')
    return run_pipeline(config, data, args.work_dir, weights, args.cfg_options, args.launcher,
                        args.auto_scale_lr)
