"""Runs a pipeline: python tools/run_pipeline.py PIPELINE_CONFIG --data-root DIR --work-dir DIR."""
import argparse

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import CfgOptions
from mmwsss.experiments.pipeline import run_pipeline
from mmwsss.experiments.weights import parse_weights


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run the stages of a pipeline; complete ones are skipped')
    parser.add_argument('config')
    parser.add_argument('--data-root', required=True, help='folder of the data set')
    parser.add_argument('--work-dir', required=True, help='folder of the stages and the report')
    parser.add_argument('--weights', nargs='+', metavar='[CONFIG=]FILE', help='ImageNet weights for the backbones, '
                        'instead of those of the configs: one file for all, or one for each')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help='settings that override the pipeline config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return run_pipeline(args.config, args.data_root, args.work_dir, parse_weights(args.weights), args.cfg_options,
                        args.launcher)


if __name__ == '__main__':
    run_cli(main)
