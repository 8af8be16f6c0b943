"""Makes CAM files: python tools/make_cam.py CONFIG CHECKPOINT --out-dir DIR --split NAME."""
import argparse

from mmwsss.apis.cam_files import make_cam
from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import add_config_arguments, load_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make the CAM files of a split; files that are there are kept')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--out-dir', required=True, help='folder for <stem>.npz files and manifest.json')
    parser.add_argument('--split', help="name of the split; default the config's")
    parser.add_argument('--work-dir', help='logs; default OUT_DIR/logs')
    parser.add_argument('--amp', choices=['bfloat16', 'float16'], help='autocast the forward passes to this type')
    add_config_arguments(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cfg = load_config(args.config, args.data_root, args.cfg_options)
    if args.amp:
        cfg.test_cfg.amp = args.amp
    result = make_cam(cfg, args.checkpoint, args.out_dir, args.split, args.work_dir, args.launcher)
    made = int(result.metrics.get('num_cams', 0))
    gate = cfg.model.get('test_cfg', {}).get('gate', 'label')
    return report_result(f'{args.out_dir}: {made} CAM files made, gated by {gate}', result.omissions)


if __name__ == '__main__':
    run_cli(main)
