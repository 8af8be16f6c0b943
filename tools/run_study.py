"""Runs an ablation study: python tools/run_study.py STUDY_CONFIG --data-root DIR --work-dir DIR."""
import argparse
from pathlib import Path

from mmengine.dist import is_main_process

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import CfgOptions
from mmwsss.experiments.study.study import Study
from mmwsss.utils.errors import EXIT_DONE, EXIT_OMISSIONS, UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train and test the rows of a study and print their table; what is '
                                                 'done is skipped, what was interrupted goes on')
    parser.add_argument('config')
    parser.add_argument('--data-root', required=True, help='folder of the data set, with masks')
    parser.add_argument('--work-dir', required=True, help='folder of the trainings, the results and the table')
    parser.add_argument('--weights', help='ImageNet weights for the backbones, instead of those of the configs')
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
    study = Study(args.config, args.data_root, args.work_dir, args.weights, args.cfg_options, args.launcher)
    if args.report_only and not Path(args.work_dir).is_dir():
        raise UserError(f'--work-dir {args.work_dir}: no such folder, so there is nothing to report')
    code = EXIT_DONE if args.report_only else study.run(args.rows, args.seeds)
    text = study.write_results()
    if is_main_process():
        print(text)
        print(f'results: {Path(args.work_dir) / "results.md"}')
        if code == EXIT_OMISSIONS:
            print('done with omissions: see the warnings above; the json of each test lists them')
    return code


if __name__ == '__main__':
    run_cli(main)
