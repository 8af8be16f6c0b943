"""Runs an ablation study: python tools/run_study.py STUDY_CONFIG --data-root DIR --work-dir DIR."""
import argparse

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import CfgOptions
from mmwsss.experiments.study.run_study import run_study
from mmwsss.experiments.weights import parse_weights


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train and test the rows of a study and print their table; what is '
                                                 'done is skipped, what was interrupted goes on')
    parser.add_argument('config')
    parser.add_argument('--data-root', required=True, help='folder of the data set, with masks')
    parser.add_argument('--work-dir', required=True, help='folder of the trainings, the results and the table')
    parser.add_argument('--weights', nargs='+', metavar='[CONFIG=]FILE', help='ImageNet weights for the backbones, '
                        'instead of those of the configs: one file for all, or one for each')
    parser.add_argument('--rows', nargs='+', metavar='NAME', help='only these rows')
    parser.add_argument('--seeds', nargs='+', type=int, metavar='SEED', help='only these of the seeds')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help='settings that override the study config, e.g. num_images=20 '
                             'cfg_options.train_cfg.max_epochs=1')
    parser.add_argument('--report-only', action='store_true', help='only print and write the table of what is there')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return run_study(args.config, args.data_root, args.work_dir, parse_weights(args.weights), args.cfg_options,
                     args.launcher, args.rows, args.seeds, args.report_only)


if __name__ == '__main__':
    run_cli(main)
