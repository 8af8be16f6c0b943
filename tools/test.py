"""Tests a checkpoint: python tools/test.py CONFIG CHECKPOINT [--data-root DIR] [--out metrics.json]."""
import argparse
from pathlib import Path

from mmengine.dist import is_main_process

from mmwsss.apis.cli import report_result
from mmwsss.apis.config import add_config_arguments, load_config
from mmwsss.apis.evaluate import has_masks
from mmwsss.apis.runner import test
from mmwsss.utils.errors import EXIT_DONE, run_cli
from mmwsss.utils.fileio import write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a checkpoint with the evaluators of its config')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--work-dir', help='logs; default work_dirs/<config name>')
    parser.add_argument('--split', help="split to test on; default the config's")
    parser.add_argument('--out', help='json file for the metrics')
    add_config_arguments(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cfg = load_config(args.config, args.data_root, args.cfg_options)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    if args.split:
        cfg.test_dataloader.dataset.split = args.split
    dataset = cfg.test_dataloader.dataset
    seg_dir = dataset.get('seg_dir', 'SegmentationClass')
    if dataset.type.startswith('VOC') and not has_masks(dataset.data_root, dataset.split, seg_dir):
        print(f'{Path(dataset.data_root, seg_dir)}: no masks of split {dataset.split}, so the evaluation is skipped')
        return EXIT_DONE
    work_dir = args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem
    result = test(cfg, args.checkpoint, work_dir, args.launcher)
    if args.out and is_main_process():
        write_json(args.out, result.metrics)
    return report_result(f'tested: {result.metrics}', result.omissions)


if __name__ == '__main__':
    run_cli(main)
