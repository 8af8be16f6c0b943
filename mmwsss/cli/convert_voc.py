"""``mmwsss convert voc``."""
import argparse

from mmwsss.cli.arguments import add_num_workers

DESCRIPTION = ('Write VOC 2012 as one folder that every command takes: classes.txt, the split train_aug, and the masks '
               'of SBD beside those of VOC. Everything that is there already is linked to')
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('voc_dir', metavar='VOC2012', help='the folder VOCdevkit/VOC2012')
    parser.add_argument('--sbd', metavar='DIR', help='the unpacked SBD (benchmark_RELEASE): its lists make train_aug, '
                        'its masks are what train_aug is evaluated on')
    parser.add_argument('--out-dir', metavar='DIR', default='data/VOC2012',
                        help='folder of the data set; default %(default)s, where the configs look for it')
    parser.add_argument('--copy', action='store_true', help='copy the files instead of linking to them')
    add_num_workers(parser, "processes that read SBD's masks")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.cli.report_result import report_result
    from mmwsss.datasets.voc_devkit import TRAIN_AUG, voc_to_layout
    summary = voc_to_layout(args.voc_dir, args.out_dir, args.sbd, args.copy, args.num_workers)
    splits = summary['splits']
    message = (f'{args.out_dir}: 20 classes, {summary["num_masks"]} masks ({summary["num_sbd"]} of SBD), splits '
               + ', '.join(f'{name} {count}' for name, count in splits.items()))
    if TRAIN_AUG not in splits and 'trainaug' not in splits:
        message += (f'; no {TRAIN_AUG}, which needs --sbd, or a list trainaug.txt in '
                    f'{args.voc_dir}/ImageSets/Segmentation')
    return report_result(message, summary['skipped'])
