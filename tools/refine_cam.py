"""Refines CAM files by an AffinityNet or IRNet: python tools/refine_cam.py CONFIG CHECKPOINT CAM_DIR --out-dir DIR."""
import argparse

from mmwsss.apis.cam_files import refine_cam
from mmwsss.apis.pseudo_label import label_settings
from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import add_config_arguments, load_config, read_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Spread CAMs by a random walk along the affinities of a trained '
                                                 'model; files that are there are kept')
    parser.add_argument('config', help='config of an AffinityNet or IRNet')
    parser.add_argument('checkpoint')
    parser.add_argument('cam_dir', help='folder of CAM files, from tools/make_cam.py')
    parser.add_argument('--out-dir', required=True, help='gets cam/ (refined CAM files) and labels/ (label maps)')
    parser.add_argument('--split', help="name of the split; default the config's")
    parser.add_argument('--work-dir', help='logs; default OUT_DIR/logs')
    parser.add_argument('--label-config', help='how the label maps are made from the refined CAMs, as in '
                                               "make_pseudo_label.py --config; default: the model's own")
    parser.add_argument('--amp', choices=['bfloat16', 'float16'], help='autocast the forward passes to this type')
    add_config_arguments(parser)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cfg = load_config(args.config, args.data_root, args.cfg_options)
    if args.amp:
        cfg.test_cfg.amp = args.amp
    labels = label_settings(read_config(args.label_config), name=args.label_config) if args.label_config else {}
    result = refine_cam(cfg, args.checkpoint, args.cam_dir, args.out_dir, args.split, args.work_dir, args.launcher,
                        **labels)
    made = int(result.metrics.get('num_cams', 0))
    return report_result(f'{args.out_dir}: {made} CAMs refined; CAM files in cam/, label maps in labels/',
                         result.omissions)


if __name__ == '__main__':
    run_cli(main)
