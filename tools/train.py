"""Trains a config: python tools/train.py CONFIG [--data-root DIR] [--work-dir DIR] [--resume]."""
import argparse
from pathlib import Path

from mmwsss.apis.runner import train
from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import add_config_arguments, load_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model: a CAM classifier, a segmentor, ...')
    parser.add_argument('config')
    parser.add_argument('--work-dir', help='logs and checkpoints; default work_dirs/<config name>')
    parser.add_argument('--resume', action='store_true', help='go on from the newest checkpoint in the work folder')
    parser.add_argument('--amp', action='store_true', help='train with bfloat16 autocast')
    add_config_arguments(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cfg = load_config(args.config, args.data_root, args.cfg_options)
    if args.amp:
        cfg.optim_wrapper.type = 'AutocastOptimWrapper'
    work_dir = args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem
    result = train(cfg, work_dir, args.resume or cfg.get('resume', False), args.launcher)
    return report_result(f'trained: {result.checkpoint}', result.omissions)


if __name__ == '__main__':
    run_cli(main)
