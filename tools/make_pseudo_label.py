"""Makes pseudo labels: python tools/make_pseudo_label.py CAM_DIR --data-root DIR --out-dir DIR [--split NAME]."""
import argparse

from mmengine.config import Config

from mmwsss.apis.pseudo_label import label_settings, make_pseudo_labels
from mmwsss.cli.report_result import report_result
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import CfgOptions, read_config
from mmwsss.postprocessing.defaults import DEFAULT_BACKGROUND, DEFAULT_CRF_BACKGROUND, DEFAULT_CRF_UNARY
from mmwsss.postprocessing.dense_crf import CRF_PRESETS
from mmwsss.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Make the pseudo labels (palette PNGs) of a split from CAM files; labels that are there are kept')
    parser.add_argument('cam_dir', help='folder of CAM files, from tools/make_cam.py')
    parser.add_argument('--data-root', required=True, help='folder of the data set')
    parser.add_argument('--split', help='name of the split, or a .txt list; default: all images')
    parser.add_argument('--img-dir', default='JPEGImages', help='folder of the images, below the data root or '
                        'absolute (default: %(default)s)')
    parser.add_argument('--out-dir', required=True, help='folder for <stem>.png files and manifest.json')
    background = parser.add_mutually_exclusive_group()
    background.add_argument('--threshold', type=float, metavar='T', help=(
        'constant background score in [0, 1): a pixel is background where no map exceeds it; default '
        f'{DEFAULT_BACKGROUND["threshold"]}, with --crf {DEFAULT_CRF_BACKGROUND["label"]["threshold"]}'))
    background.add_argument('--alpha', type=float, metavar='A',
                            help='background score (1 - highest map)^A instead of a constant one; default with '
                                 f'--crf --crf-unary softmax: {DEFAULT_CRF_BACKGROUND["softmax"]["alpha"]}')
    parser.add_argument('--crf', action='store_true', help='refine with a dense CRF')
    parser.add_argument('--crf-unary', choices=sorted(CRF_PRESETS), help=(
        "with --crf: label = the argmax of the scores, IRNet's parameters (default); softmax = the scores as they are, "
        "AffinityNet's parameters"))
    parser.add_argument('--config', help='a file with background= and postprocessors=[...] instead of the four above, '
                                         'e.g. configs/_base_/postprocessing/crf_label.py; affinity_label_*.py make '
                                         'the labels that AffinityNet and IRNet are trained with')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE',
                        help='settings that override these, e.g. background.threshold=0.2 '
                             'postprocessors.0.iterations=5')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help="foreground class names; default the data root's classes.txt")
    parser.add_argument('--num-workers', type=int, metavar='N', help='processes; default one per CPU, 0 = none')
    parser.add_argument('--missing-cam', choices=['error', 'skip'], default='error',
                        help='skip: leave images without a CAM file out instead of stopping (exit code 3)')
    return parser.parse_args()


def load_settings(args: argparse.Namespace) -> dict:
    """Returns ``background`` and ``postprocessors`` as plain dicts, from the options or from a config file."""
    if args.crf_unary and not args.crf:
        raise UserError('--crf-unary says how --crf works: give --crf too')
    if args.config:
        if args.crf or args.threshold is not None or args.alpha is not None:
            raise UserError('--config replaces --threshold, --alpha and --crf; change its settings with --cfg-options, '
                            'e.g. background.threshold=0.2')
        settings = read_config(args.config)
    else:
        settings = Config(settings_from_options(args))
    return label_settings(settings, args.cfg_options, args.config or '--cfg-options')


def settings_from_options(args: argparse.Namespace) -> dict:
    unary = args.crf_unary or DEFAULT_CRF_UNARY
    background = DEFAULT_CRF_BACKGROUND[unary] if args.crf else DEFAULT_BACKGROUND
    if args.threshold is not None:
        background = {'type': 'constant', 'threshold': args.threshold}
    elif args.alpha is not None:
        background = {'type': 'power', 'alpha': args.alpha}
    postprocessors = [{'type': 'DenseCRF', **CRF_PRESETS[unary]}] if args.crf else []
    return {'background': background, 'postprocessors': postprocessors}


def describe(config: dict) -> str:
    arguments = ', '.join(f'{key}={describe(value) if isinstance(value, dict) and "type" in value else value}'
                          for key, value in config.items() if key != 'type')
    return f'{config["type"]}({arguments})'


def main() -> int:
    args = parse_args()
    settings = load_settings(args)
    summary = make_pseudo_labels(args.cam_dir, args.data_root, args.split, args.out_dir, **settings,
                                 num_workers=args.num_workers, classes=args.classes, missing_cam=args.missing_cam,
                                 img_dir=args.img_dir)
    steps = ' -> '.join(['background ' + describe(settings['background']), *map(describe, settings['postprocessors'])])
    ignored = f', {summary["ignored_share"]:.1%} ignored' if settings['background']['type'] == 'confident' else ''
    message = (f'{args.out_dir}: {summary["made"]} labels made, {summary["kept"]} were there, for '
               f'{summary["num_images"]} images of {args.split or args.data_root}; '
               f'{summary["background_share"]:.1%} of their pixels are background{ignored}\nmade by: {steps}')
    return report_result(message, summary['omissions'])


if __name__ == '__main__':
    run_cli(main)
