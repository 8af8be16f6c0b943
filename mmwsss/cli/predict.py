"""``mmwsss predict``."""
import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmwsss.apis.inferencer import ImageInferencer

DESCRIPTION = ('Apply a trained model to images. A segmentor gives a mask of each (labels/<name>.png, a palette PNG) '
               'and a picture of it over the image (overlays/<name>.png); a classifier gives the labels that its CAMs '
               'make and a picture of the CAM of every class that it sees. predictions.json has the classes of each '
               'image.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('model', metavar='MODEL', help='folder of a trained model, which a pipeline or mmwsss export '
                        'has written; cam_efflite0_imagenet, whose weights are installed; or a config, and its '
                        'checkpoint as next argument')
    parser.add_argument('images', metavar='IMAGE', nargs='+', help='images, and folders of them (with sub folders)')
    parser.add_argument('--out-dir', metavar='DIR', required=True, help='gets labels/, overlays/ and '
                        'predictions.json; not in a folder of the images')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help='names of the foreground classes; default those that the model was trained with')
    parser.add_argument('--device', metavar='DEVICE', help='cpu, cuda, cuda:1, ...; default the GPU, if there is one')
    parser.add_argument('--batch-size', type=int, default=8, metavar='N',
                        help='images of one size that go through the model together (default: %(default)s)')
    cam = parser.add_argument_group('classifiers only')
    cam.add_argument('--score-thr', type=float, metavar='S',
                     help='classes with a higher sigmoid score are in an image (default: 0.5)')
    cam.add_argument('--top-k', type=int, metavar='K',
                     help='where no class has such a score, take the K best; 0: none, the image is all background '
                          "(default: the config's model.test_cfg.top_k, or 1)")
    cam.add_argument('--hooks', nargs='+', metavar='HOOK',
                     help="inference hooks in place of the config's, outermost first, e.g. MultiScaleFlip SSA")
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
    checkpoint, images = split_arguments(args.model, args.images)
    inferencer = load_inferencer(args, checkpoint)
    summary = write_predictions(inferencer, images, args.out_dir, **label_settings(args, inferencer))
    message = f'{args.out_dir}: {summary["num_images"]} images, in labels/ and overlays/'
    if empty := summary['without_class']:
        message += (f'; {len(empty)} without any class, e.g. {empty[0]}: no score is above {inferencer.score_thr:g} '
                    '(--score-thr); --top-k 1 takes the best class anyway')
    return report_result(message, summary['skipped'])


def split_arguments(model: str, rest: list[str]) -> tuple[str | None, list[str]]:
    """Returns the checkpoint among the arguments that follow the model, and the images.

    Raises:
        UserError: If a config is followed by nothing but one file.
    """
    from mmwsss.config.config import read_config
    from mmwsss.utils.errors import UserError
    if os.path.isdir(model) or read_config(model).get('init_is_trained'):
        return None, rest
    if len(rest) < 2:
        raise UserError(f'{model}: a config needs its checkpoint and an image: mmwsss predict CONFIG CHECKPOINT IMAGE; '
                        'the folder of a trained model needs an image only')
    return rest[0], rest[1:]


def load_inferencer(args: argparse.Namespace, checkpoint: str | None) -> 'ImageInferencer':
    """Builds what fits the model: a ``CAMInferencer`` or a ``SegInferencer``."""
    from mmwsss.apis.inferencer import CAMInferencer
    from mmwsss.apis.model_folder import find_model, is_refiner, is_segmentor
    from mmwsss.apis.seg_inferencer import SegInferencer
    from mmwsss.utils.errors import UserError
    cfg, checkpoint = find_model(args.model, checkpoint)
    if is_refiner(cfg):
        raise UserError(f'{args.model}: is of a model that refines CAMs; use mmwsss refine')
    if not is_segmentor(cfg):
        score = 0.5 if args.score_thr is None else args.score_thr
        if not 0 <= score < 1:
            raise UserError(f'--score-thr {score:g}: must be at least 0 and below 1')
        if (args.top_k or 0) < 0:
            raise UserError(f'--top-k {args.top_k}: must be at least 0')
        return CAMInferencer(cfg, checkpoint, args.classes, args.device, score, args.batch_size, args.top_k,
                             args.hooks)
    if args.score_thr is not None or args.threshold is not None or args.crf or args.top_k is not None or args.hooks:
        raise UserError('--score-thr, --top-k, --hooks, --threshold and --crf are for classifiers, and '
                        f'{args.model} is a segmentor; leave them out')
    return SegInferencer(cfg, checkpoint, args.classes, args.device, args.batch_size)


def label_settings(args: argparse.Namespace, inferencer: 'ImageInferencer') -> dict:
    """Returns how labels are made of CAMs; nothing for a segmentor, whose masks are its labels."""
    from mmwsss.apis.inferencer import CAMInferencer
    from mmwsss.config.label_options import label_options
    return label_options(args.threshold, crf=args.crf) if isinstance(inferencer, CAMInferencer) else {}
