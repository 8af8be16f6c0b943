"""``mmwsss cam``."""
import argparse

from mmwsss.cli.arguments import add_amp, add_config, add_config_arguments
from mmwsss.cli.data import add_split

DESCRIPTION = 'Make the CAM files of a split; files that are there are kept'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser)
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    parser.add_argument('--out-dir', metavar='DIR', required=True,
                        help='folder for <stem>.npz files and manifest.json')
    add_split(parser, "the config's")
    parser.add_argument('--work-dir', metavar='DIR', help='logs; default OUT_DIR/logs')
    add_amp(parser)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.cam_files import make_cam
    from mmwsss.cli.data import data_folder
    from mmwsss.cli.report_result import report_result
    from mmwsss.config.config import load_config
    cfg = load_config(args.config, data_folder(args), args.cfg_options)
    if args.amp:
        cfg.test_cfg.amp = args.amp
    result = make_cam(cfg, args.checkpoint, args.out_dir, args.split, args.work_dir, args.launcher)
    made = int(result.metrics.get('num_cams', 0))
    class_filter = cfg.model.get('test_cfg', {}).get('class_filter', 'label')
    return report_result(f'{args.out_dir}: {made} CAM files made, classes chosen by {class_filter}', result.skipped)
