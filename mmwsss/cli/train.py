"""``mmwsss train``."""
import argparse
from pathlib import Path

from mmwsss.cli.arguments import add_auto_scale_lr, add_config, add_config_arguments

DESCRIPTION = 'Train a model: a CAM classifier, an affinity model, a segmentor, ...'
LABELS = 'train_dataloader.dataset.seg_dir'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser)
    parser.add_argument('--work-dir', metavar='DIR', help='logs and checkpoints; default work_dirs/<config name>')
    parser.add_argument('--resume', action='store_true', help='go on from the newest checkpoint in the work folder')
    parser.add_argument('--amp', action='store_true', help='train with bfloat16 autocast')
    add_auto_scale_lr(parser)
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument('--labels', metavar='DIR', help='folder of the pseudo labels that a segmentor is trained on')
    labels.add_argument('--full-supervision', action='store_true',
                        help='train a segmentor on the ground truth masks of the data set')
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.runner import train
    from mmwsss.cli.data import data_folder
    from mmwsss.cli.report_result import report_result
    from mmwsss.config.config import load_config, read_config, scale_lr_by_batch
    from mmwsss.utils.errors import UserError
    options = args.cfg_options or {}
    cfg = load_config(args.config, data_folder(args), args.cfg_options)
    if args.labels is not None:
        if not cfg.get('train_dataloader') or 'seg_dir' not in cfg.train_dataloader.dataset:
            raise UserError(f'--labels: {args.config} takes no label maps; it is for the config of a segmentor')
        if not Path(args.labels).is_dir():
            raise UserError(f'--labels {args.labels}: no such folder; name that of the pseudo labels (mmwsss label '
                            '--out-dir)')
        # A data set takes a relative path as one below its root.
        cfg.train_dataloader.dataset.seg_dir = str(Path(args.labels).absolute())
    if args.full_supervision or LABELS in options:
        cfg.full_supervision = True
    if args.amp:
        cfg.optim_wrapper.type = 'AutocastOptimWrapper'
    if args.auto_scale_lr:
        scale_lr_by_batch(cfg, read_config(args.config).train_dataloader.batch_size)
    work_dir = args.work_dir or cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem
    result = train(cfg, work_dir, args.resume or cfg.get('resume', False), args.launcher)
    return report_result(f'trained: {result.checkpoint}', result.skipped)
