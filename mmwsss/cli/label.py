"""``mmwsss label``."""
import argparse
import runpy
from pathlib import Path

from mmwsss.cli.arguments import add_cfg_options, add_num_workers
from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = 'Make the pseudo labels (palette PNGs) of a split from CAM files; labels that are there are kept'
# Those of CRF_PRESETS, whose import takes seconds; a test compares.
UNARIES = ('label', 'softmax')
LABEL_CONFIGS = '_base_/postprocessing'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    # Read as a file of its own: to import it, torch would be imported with its package.
    defaults = runpy.run_path(str(Path(__file__).parents[1] / 'postprocessing/defaults.py'))
    crf = defaults['DEFAULT_CRF_BACKGROUND']
    parser.add_argument('cam_dir', metavar='CAM_DIR', help='folder of CAM files, from mmwsss cam')
    add_split(parser)
    parser.add_argument('--out-dir', metavar='DIR', required=True,
                        help='folder for <stem>.png files and manifest.json')
    background = parser.add_mutually_exclusive_group()
    background.add_argument('--threshold', type=_threshold, metavar='T', help=(
        'constant background score in [0, 1): a pixel is background where no map exceeds it; auto: one for all images, '
        'chosen from the CAMs; default '
        f'{defaults["DEFAULT_BACKGROUND"]["threshold"]}, with --crf {crf["label"]["threshold"]}'))
    background.add_argument('--alpha', type=float, metavar='A',
                            help='background score (1 - highest map)^A instead of a constant one; default with '
                                 f'--crf --crf-unary softmax: {crf["softmax"]["alpha"]}')
    background.add_argument('--no-background', action='store_true',
                            help='every pixel is of a class (textures, tissue, land cover)')
    parser.add_argument('--crf', action='store_true', help='refine with a dense CRF')
    parser.add_argument('--crf-unary', choices=UNARIES, help=(
        "with --crf: label = the argmax of the scores, IRNet's parameters (default); softmax = the scores as they are, "
        "AffinityNet's parameters"))
    parser.add_argument('--config', metavar='FILE', help='a file with background= and postprocessors=[...] instead of '
                        'the four above: its path, or crf_label, crf_softmax, ...; affinity_label_*.py make the '
                        'labels that AffinityNet and IRNet are trained with')
    add_cfg_options(parser, 'settings that override these, e.g. background.threshold=0.2 postprocessors.0.iterations=5')
    add_num_workers(parser)
    parser.add_argument('--missing-cam', choices=['error', 'skip'], default='error',
                        help='skip: leave images without a CAM file out instead of stopping (exit code 3)')
    add_data_arguments(parser)


def _threshold(text: str) -> float | str:
    try:
        return text if text == 'auto' else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is neither a number nor auto') from error


def read_label_config(name: str, cfg_options: dict | None = None) -> dict:
    """Reads how labels are made from a config: ``background`` and ``postprocessors`` as built-in types."""
    from mmwsss.apis.pseudo_label import label_settings
    from mmwsss.config.config import read_config
    from mmwsss.config.find import find_config
    return label_settings(read_config(find_config(name, LABEL_CONFIGS)), cfg_options, name)


def load_settings(args: argparse.Namespace) -> dict:
    """Returns ``background`` and ``postprocessors`` as plain dicts, from the options or from a config file."""
    from mmengine.config import Config

    from mmwsss.apis.pseudo_label import label_settings
    from mmwsss.config.label_options import label_options
    from mmwsss.utils.errors import UserError
    if args.config:
        if args.crf or args.threshold is not None or args.alpha is not None or args.no_background:
            raise UserError('--config replaces --threshold, --alpha and --crf; change its settings with --cfg-options, '
                            'e.g. background.threshold=0.2')
        if args.crf_unary:
            raise UserError('--crf-unary says how --crf works: give --crf too')
        return read_label_config(args.config, args.cfg_options)
    options = label_options(args.threshold, args.alpha, args.crf, args.crf_unary, args.no_background)
    return label_settings(Config(options), args.cfg_options, '--cfg-options')


def describe(config: dict) -> str:
    """Returns a part's config as it would be called, ``DenseCRF(iterations=10)``."""
    arguments = ', '.join(f'{key}={describe(value) if isinstance(value, dict) and "type" in value else value}'
                          for key, value in config.items() if key != 'type')
    return f'{config["type"]}({arguments})'


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.pseudo_label import make_pseudo_label
    from mmwsss.cli.data import data_folder
    from mmwsss.cli.report_result import report_result
    data = data_folder(args)
    settings = load_settings(args)
    summary = make_pseudo_label(args.cam_dir, data, args.split, args.out_dir, **settings,
                                num_workers=args.num_workers, missing_cam=args.missing_cam)
    steps = ' -> '.join(['background ' + describe(summary['background']), *map(describe, settings['postprocessors'])])
    ignored = f', {summary["ignored_share"]:.1%} ignored' if settings['background']['type'] == 'confident' else ''
    message = (f'{args.out_dir}: {summary["made"]} labels made, {summary["kept"]} were there, for '
               f'{summary["num_images"]} images of {args.split or args.data_root}; '
               f'{summary["background_share"]:.1%} of their pixels are background{ignored}\nmade by: {steps}')
    return report_result(message, summary['skipped'])
