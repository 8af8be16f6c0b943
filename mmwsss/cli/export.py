"""``mmwsss export``."""
import argparse

from mmwsss.cli.arguments import add_config

DESCRIPTION = ('Write a trained classifier or segmentor as a folder that mmwsss predict, and for segmentors also '
               "mmsegmentation's init_model and MMSegInferencer, take: config.py, weights.pth and classes.txt; or as "
               'an ONNX file.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser, 'the config of a CAM model or a segmentor, or the folder of a trained model')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', nargs='?', help='not for a folder, which has its own')
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument('--out-dir', metavar='DIR', help='folder to write')
    target.add_argument('--onnx', metavar='FILE', help='ONNX file to write; needs pip install "mmwsss[onnx]"')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help='names of the foreground classes; default those that the model was trained with')
    parser.add_argument('--half', action='store_true', help='write the weights of the folder in half precision')
    parser.add_argument('--size', nargs=2, type=int, metavar=('H', 'W'),
                        help='size of the images that the ONNX file takes (default: any)')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.model_folder import export_model
    from mmwsss.apis.onnx_export import export_onnx
    from mmwsss.utils.errors import EXIT_DONE, UserError
    if args.onnx is None and args.size:
        raise UserError('--size is of --onnx; leave it out, or name a file with --onnx')
    if args.onnx is not None and args.half:
        raise UserError('--half is of --out-dir; leave it out, or name a folder with --out-dir')
    if args.size and min(args.size) < 1:
        raise UserError(f'--size {args.size[0]} {args.size[1]}: must be at least 1')
    if args.onnx is not None:
        size = tuple(args.size) if args.size else None
        print(f'{export_onnx(args.config, args.checkpoint, args.onnx, args.classes, size)}: written')
    else:
        folder = export_model(args.config, args.checkpoint, args.out_dir, args.classes, args.half)
        print(f'{folder}: a trained model; mmwsss predict {folder} IMAGES --out-dir DIR applies it')
    return EXIT_DONE
