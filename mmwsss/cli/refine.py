"""``mmwsss refine``."""
import argparse

from mmwsss.cli.arguments import add_amp, add_config, add_config_arguments
from mmwsss.cli.data import add_split

DESCRIPTION = ('Spread CAMs by a random walk along the affinities of a trained model; files that are there are kept')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser, 'the config of an AffinityNet or IRNet')
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    parser.add_argument('cam_dir', metavar='CAM_DIR', help='folder of CAM files, from mmwsss cam')
    parser.add_argument('--out-dir', metavar='DIR', required=True,
                        help='gets cam/ (refined CAM files) and labels/ (label maps)')
    add_split(parser, "the config's")
    parser.add_argument('--work-dir', metavar='DIR', help='logs; default OUT_DIR/logs')
    parser.add_argument('--label-config', metavar='FILE', help='how the label maps are made from the refined CAMs, as '
                        "in mmwsss label --config; default: the model's own")
    add_amp(parser)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.cam_files import refine_cam
    from mmwsss.cli.data import data_folder
    from mmwsss.cli.label import read_label_config
    from mmwsss.cli.report_result import report_result
    from mmwsss.config.config import load_config
    cfg = load_config(args.config, data_folder(args), args.cfg_options)
    if args.amp:
        cfg.test_cfg.amp = args.amp
    labels = read_label_config(args.label_config) if args.label_config else {}
    result = refine_cam(cfg, args.checkpoint, args.cam_dir, args.out_dir, args.split, args.work_dir, args.launcher,
                        **labels)
    made = int(result.metrics.get('num_cams', 0))
    return report_result(f'{args.out_dir}: {made} CAMs refined; CAM files in cam/, label maps in labels/',
                         result.skipped)
