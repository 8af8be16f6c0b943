"""``mmwsss predict``."""
import argparse
from typing import TYPE_CHECKING

from mmwsss.cli.arguments import add_config

if TYPE_CHECKING:
    from mmwsss.apis.inferencer import ImageInferencer

DESCRIPTION = ('Apply a trained model to images. A segmentor gives a mask of each (labels/<name>.png, a palette PNG) '
               'and a picture of it over the image (overlays/<name>.png); a classifier gives the labels that its CAMs '
               'make and a picture of the CAM of every class that it sees. predictions.json has the classes of each '
               'image.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser, 'the config of a CAM model or a segmentor')
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    parser.add_argument('images', metavar='IMAGE', nargs='+', help='images, and folders of them (with sub folders)')
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='gets labels/, overlays/ and predictions.json')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help='names of the foreground classes; default those that the model was trained with')
    parser.add_argument('--device', metavar='DEVICE', help='cpu, cuda, cuda:1, ...; default the GPU, if there is one')
    parser.add_argument('--batch-size', type=int, default=8, metavar='N',
                        help='images of one size that go through the model together (default: %(default)s)')
    cam = parser.add_argument_group('classifiers only')
    cam.add_argument('--score-thr', type=float, metavar='S',
                     help='classes with a higher sigmoid score are in an image (default: 0.5)')
    cam.add_argument('--threshold', type=float, metavar='T',
                     help='background score: a pixel is background where no map exceeds it (default: as mmwsss label)')
    cam.add_argument('--crf', action='store_true', help='refine the labels with a dense CRF')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.predict import write_predictions
    from mmwsss.cli.report_result import report_result
    from mmwsss.utils.errors import UserError
    if args.batch_size < 1:
        raise UserError(f'--batch-size {args.batch_size}: must be at least 1')
    inferencer = load_inferencer(args)
    summary = write_predictions(inferencer, args.images, args.out_dir, **label_settings(args, inferencer))
    return report_result(f'{args.out_dir}: {summary["num_images"]} images, in labels/ and overlays/',
                         summary['omissions'])


def load_inferencer(args: argparse.Namespace) -> 'ImageInferencer':
    """Builds what fits the model: a ``CAMInferencer`` or a ``SegInferencer``."""
    from mmwsss.apis.inferencer import CAMInferencer
    from mmwsss.apis.seg_inferencer import SegInferencer, is_refiner, is_segmentor
    from mmwsss.config.config import read_config
    from mmwsss.utils.errors import UserError
    cfg = read_config(args.config)
    if is_refiner(cfg):
        raise UserError(f'{args.config}: is of a model that refines CAMs; use mmwsss refine')
    if not is_segmentor(cfg):
        score = 0.5 if args.score_thr is None else args.score_thr
        if not 0 <= score < 1:
            raise UserError(f'--score-thr {score:g}: must be at least 0 and below 1')
        return CAMInferencer(cfg, args.checkpoint, args.classes, args.device, score, args.batch_size)
    if args.score_thr is not None or args.threshold is not None or args.crf:
        raise UserError(f'--score-thr, --threshold and --crf are for classifiers, and {args.config} is a segmentor; '
                        'leave them out')
    return SegInferencer(cfg, args.checkpoint, args.classes, args.device, args.batch_size)


def label_settings(args: argparse.Namespace, inferencer: 'ImageInferencer') -> dict:
    """Returns how labels are made of CAMs; nothing for a segmentor, whose masks are its labels."""
    from mmwsss.apis.inferencer import CAMInferencer
    from mmwsss.config.label_options import label_options
    return label_options(args.threshold, crf=args.crf) if isinstance(inferencer, CAMInferencer) else {}
