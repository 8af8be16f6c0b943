"""Runs a pipeline: python tools/run_pipeline.py PIPELINE_CONFIG --data-root DIR --work-dir DIR."""
import argparse
from pathlib import Path

from mmengine.dist import is_main_process
from rich.console import Console

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import CfgOptions
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.results_table import results_json, results_markdown, results_table
from mmwsss.utils.errors import EXIT_OMISSIONS
from mmwsss.utils.fileio import write_bytes, write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run the stages of a pipeline; complete ones are skipped')
    parser.add_argument('config')
    parser.add_argument('--data-root', required=True, help='folder of the data set, in VOC layout')
    parser.add_argument('--work-dir', required=True, help='folder of the stages and the report')
    parser.add_argument('--weights', help='ImageNet weights for the backbones, instead of those of the configs')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help='settings that override the pipeline config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return run(args.config, args.data_root, args.work_dir, args.weights, args.cfg_options, args.launcher)


def run(config: str, data_root: str, work_dir: str, weights: str | None = None, cfg_options: dict | None = None,
        launcher: str = 'none') -> int:
    pipeline = Pipeline(config, data_root, work_dir, weights, cfg_options, launcher)
    code = pipeline.run()
    if is_main_process():
        title = f'{Path(config).stem} on {data_root}'
        Console().print(results_table(pipeline.rows, title=title))
        write_json(Path(work_dir) / 'report.json', results_json(pipeline.rows))
        write_bytes(Path(work_dir) / 'report.md', results_markdown(pipeline.rows, title=title).encode())
        print(f'report: {Path(work_dir) / "report.md"}')
        for name, result in pipeline.results.items():
            if result.output.endswith('.png'):
                print(f'picture: {result.output} ({name})')
        if code == EXIT_OMISSIONS:
            print('done with omissions: see the warnings above; complete.json of each stage lists them')
    return code


if __name__ == '__main__':
    run_cli(main)
