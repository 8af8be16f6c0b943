"""``mmwsss study``."""
import argparse

from mmwsss.cli.arguments import add_auto_scale_lr, add_cfg_options, add_config, add_launcher, add_weights
from mmwsss.cli.data import add_data_arguments

DESCRIPTION = ('Train and test the rows of a study and print their table; what is done is reused, what was '
               'interrupted goes on')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser, 'a study')
    parser.add_argument('--work-dir', metavar='DIR', required=True,
                        help='folder of the trainings, the results and the table')
    add_weights(parser)
    add_auto_scale_lr(parser, 'of every row: ')
    parser.add_argument('--rows', nargs='+', metavar='NAME', help='only these rows')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='SEED', help='only these of the seeds')
    add_cfg_options(parser, 'settings that override the study config, e.g. num_images=20 '
                            'cfg_options.train_cfg.max_epochs=1')
    parser.add_argument('--report-only', action='store_true', help='only print and write the table of what is there')
    add_launcher(parser)
    add_data_arguments(parser, root_help='folder of the data set, with masks')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.data import data_folder
    from mmwsss.config.find import find_config
    from mmwsss.experiments.study.run_study import run_study
    from mmwsss.experiments.weights import parse_weights
    return run_study(find_config(args.config, 'studies'), data_folder(args), args.work_dir,
                     parse_weights(args.weights), args.cfg_options, args.launcher, args.rows, args.seeds,
                     args.report_only, args.auto_scale_lr)
