"""``mmwsss pipeline``."""
import argparse

from mmwsss.cli.arguments import add_cfg_options, add_config, add_launcher, add_weights
from mmwsss.cli.data import add_data_arguments

DESCRIPTION = 'Run the stages of a pipeline, from photographs to a segmentor; complete ones are skipped'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser, 'a pipeline')
    parser.add_argument('--work-dir', metavar='DIR', required=True, help='folder of the stages and the report')
    add_weights(parser)
    add_cfg_options(parser, 'settings that override the pipeline config')
    add_launcher(parser)
    add_data_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.data import data_folder
    from mmwsss.config.find import find_config
    from mmwsss.experiments.pipeline import run_pipeline
    from mmwsss.experiments.weights import parse_weights
    return run_pipeline(find_config(args.config, 'pipelines'), data_folder(args), args.work_dir,
                        parse_weights(args.weights), args.cfg_options, args.launcher)
