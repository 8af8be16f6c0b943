"""Tests a checkpoint: python tools/test.py CONFIG CHECKPOINT [--data-root DIR] [--out metrics.json].

A segmentor also at several scales and flipped (--tta), and followed by the config's post-processors (--crf).
"""
import argparse
from pathlib import Path

from mmengine.dist import is_main_process

from mmwsss.apis.runner import check_settings, test
from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import add_config_arguments, load_config
from mmwsss.config.seg_options import use_postprocessors, use_tta, without_masks
from mmwsss.datasets import DataFolder
from mmwsss.utils.errors import EXIT_DONE, UserError
from mmwsss.utils.fileio import write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a checkpoint with the evaluators of its config')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--work-dir', help='logs; default work_dirs/<config name>')
    parser.add_argument('--split', help="split to test on; default the config's")
    parser.add_argument('--out', help='json file for the metrics')
    parser.add_argument('--tta', action='store_true',
                        help="average over the scales and flips of the config's tta_pipeline (segmentors)")
    parser.add_argument('--crf', action='store_true',
                        help="post-process the predictions as the config's test_postprocessors say (segmentors)")
    parser.add_argument('--out-dir', help='folder for the label maps that --crf makes')
    parser.add_argument('--num-workers', type=int, help='processes that --crf uses; default one per CPU')
    add_config_arguments(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cfg = load_config(args.config, args.data_root, args.cfg_options)
    if not args.crf and (args.out_dir or args.num_workers is not None):
        raise UserError('--out-dir and --num-workers are of --crf; add it')
    check_settings(cfg, 'test_dataloader', 'test_cfg', 'test_evaluator')
    if not Path(args.checkpoint).is_file():
        raise UserError(f'{args.checkpoint}: no such checkpoint')
    if args.tta:
        use_tta(cfg)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            Path(args.out).unlink(missing_ok=True)  # of another test
    if args.split:
        cfg.test_dataloader.dataset.split = args.split
    dataset = cfg.test_dataloader.dataset
    data = DataFolder.of_dataset(dataset) if dataset.type.startswith('VOC') else None
    judged = data is None or data.has_masks(dataset.split)
    if not judged:
        data.check_images(dataset.split)
        print(f'{data.masks_path}: no masks of split {dataset.split}, so the evaluation is skipped')
        if not args.out_dir:
            return EXIT_DONE
        without_masks(cfg)
    if args.crf:
        use_postprocessors(cfg, out_dir=args.out_dir, with_iou=judged, num_workers=args.num_workers)
    work_dir = args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem
    result = test(cfg, args.checkpoint, work_dir, args.launcher)
    if args.out and is_main_process():
        write_json(args.out, result.metrics)
    return report_result(f'tested: {result.metrics}', result.omissions)


if __name__ == '__main__':
    run_cli(main)
