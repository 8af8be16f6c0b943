"""``mmwsss draw affinity``."""
import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mmwsss.cli.arguments import add_cfg_options, add_config
from mmwsss.utils.errors import EXIT_DONE, UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

DESCRIPTION = ('Draw the image with a cross at each point, a heat map per point of how similar PCM takes every '
               'position to be to it (rectified cosine: blue 0, red 1), and the CAM of a class before and after PCM '
               '(each divided by its maximum; Fig. 5 of SEAM). With --stages, for any CAM model: a row per point with '
               'a map per stage of how similar its features are to those at the point (cosine: blue 0 or less, red 1), '
               'and the CAM (Fig. 1 of SSA). One plain forward: no flips, no other scales.')
POINT = re.compile(r'(-?[\d.]+),(-?[\d.]+)')
MAX_SCALE = 8
HEIGHTS = (32, 4096)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_config(parser, 'the config of a model with PCM, or with --stages of any CAM model')
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    parser.add_argument('image', metavar='IMAGE')
    parser.add_argument('--points', nargs='+', required=True, metavar='X,Y',
                        help='pixels of the image, counted from 0 (120,80), or fractions of its width and height, '
                        'written with a point (0.3,0.25)')
    parser.add_argument('--stages', nargs='+', metavar='STAGE', help='stages of the backbone whose features are '
                        'compared, instead of what PCM compares: 0 is the first feature map that the model returns '
                        '(configs/ssa/README.md lists them)')
    parser.add_argument('--out', metavar='FILE', required=True, help='the picture (.png)')
    parser.add_argument('--class', dest='class_name', metavar='NAME',
                        help='class whose CAM is drawn; default the one with the highest score')
    parser.add_argument('--scale', type=float, default=1.0,
                        help='take the image at this scale: the grid of the maps is that much finer '
                        '(default: %(default)g)')
    parser.add_argument('--height', type=int, default=240, help='height of the maps in pixels (default: %(default)s)')
    parser.add_argument('--data-root', help='data set that names the classes; default those in the config or the '
                        'checkpoint')
    add_cfg_options(parser, 'settings that override the config')


def parse_point(text: str, size: tuple[int, int]) -> tuple[float, float]:
    """Turns ``X,Y`` into fractions of width and height.

    Args:
        text: Whole numbers are pixels, numbers with a decimal point are fractions.
        size: (H, W) of the image.

    Returns:
        (x, y) in [0, 1); those of a pixel are its centre.

    Raises:
        UserError: If it is no point, or outside of the image.
    """
    match = POINT.fullmatch(text)
    try:
        point = [(float(number) if '.' in number else (int(number) + 0.5) / side)
                 for number, side in zip(match.groups() if match else (), size[::-1])]
    except ValueError:  # several decimal points
        point = []
    if not point:
        raise UserError(f'--points {text}: is no point; write X,Y, for example 120,80 or 0.3,0.25')
    if not all(0 <= fraction < 1 for fraction in point):
        raise UserError(f'--points {text}: is outside of the image, which is {size[1]} x {size[0]} (width x height); '
                        'whole numbers are pixels counted from 0, numbers with a decimal point fractions below 1')
    return point[0], point[1]


def class_names(classes: list[str] | None, checkpoint: str, data_root: str | None) -> tuple[str, ...]:
    """Returns the class names of the data set, or else of the config, or else of the checkpoint."""
    from mmwsss.datasets import load_classes
    from mmwsss.engine.checkpoint import load_checkpoint_file, trained_classes
    if data_root is not None or classes is not None:
        return load_classes(data_root or '', classes)
    names = trained_classes(load_checkpoint_file(checkpoint))
    if not names:
        raise UserError(f'{checkpoint}: holds no class names; name the data set that has them with --data-root')
    return names


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.structures.image_file import read_image
    if Path(args.out).suffix.lower() != '.png':
        raise UserError(f'--out {args.out}: the picture is written as PNG; end the name in .png')
    if Path(args.out).resolve() == Path(args.image).resolve():
        raise UserError(f'--out {args.out}: is the image itself, which would be replaced; choose another name')
    if not 0 < args.scale <= MAX_SCALE:
        raise UserError(f'--scale {args.scale:g}: must be above 0 and at most {MAX_SCALE}')
    if not HEIGHTS[0] <= args.height <= HEIGHTS[1]:
        raise UserError(f'--height {args.height}: must be {HEIGHTS[0]} to {HEIGHTS[1]} pixels')
    if args.stages and len(set(args.stages)) < len(args.stages):
        raise UserError(f'--stages {" ".join(args.stages)}: names a stage twice')
    image = read_image(args.image)
    points = [parse_point(text, image.shape[:2]) for text in args.points]
    model, inputs, classes = _load(args)
    draw = _draw_pcm if args.stages is None else _draw_stages
    draw(args, image, points, model, inputs, classes)
    return EXIT_DONE


def _load(args: argparse.Namespace) -> 'tuple[nn.Module, Tensor, tuple[str, ...]]':
    """Returns the model, the image as it takes it (1 x 3 x H x W), and the class names."""
    from mmengine.dataset import pseudo_collate

    from mmwsss.apis.inferencer import CAMInferencer
    from mmwsss.config.config import merge_options, read_config
    from mmwsss.structures.maps import rescale_images
    cfg = merge_options(read_config(args.config), args.cfg_options)
    if cfg.get('model') is None or not cfg.get('test_dataloader'):
        raise UserError(f'{args.config}: has no model or no test_dataloader; name the config of a CAM model')
    classes = class_names(cfg.get('classes'), args.checkpoint, args.data_root)
    if args.class_name is not None and args.class_name not in classes:
        raise UserError(f'--class {args.class_name}: is not among the classes {", ".join(classes)}')
    inferencer = CAMInferencer(cfg, args.checkpoint, classes)
    data = inferencer.transform(inferencer.load(dict(img_path=args.image)))
    data = inferencer.model.data_preprocessor(pseudo_collate([data]), False)
    if any(data['data_samples'][0].get('img_padding_size', ())):
        raise UserError(f'{args.config}: pads the image, and points would move; remove test_cfg from the data '
                        'preprocessor')
    return inferencer.model, rescale_images(data['inputs'], args.scale), classes


def _draw_pcm(args: argparse.Namespace, image: 'np.ndarray', points: list[tuple[float, float]], model: 'nn.Module',
              inputs: 'Tensor', classes: tuple[str, ...]) -> None:
    from mmwsss.visualization.affinity import affinity_maps, draw_affinity
    from mmwsss.visualization.draw import save_png
    maps = affinity_maps(model, inputs, points)
    shown = _shown_class(args, maps.scores, classes)
    described = f'scale {args.scale:g}, grid {_grid(maps.affinity)}'
    sheet = draw_affinity(
        image, points, maps.affinity.cpu().numpy(),
        {f'CAM: {classes[shown]}': maps.cam[shown].cpu().numpy(),
         f'revised CAM: {classes[shown]}': maps.revised[shown].cpu().numpy()},
        f'{Path(args.image).name}, {described}', args.height)
    save_png(args.out, sheet)
    print(f'{args.out}: {len(points)} points, {described}, {classes[shown]} (score {maps.scores[shown]:.3f})')
    _print_maps('affinity to {}', maps.affinity, args.points, points)


def _draw_stages(args: argparse.Namespace, image: 'np.ndarray', points: list[tuple[float, float]], model: 'nn.Module',
                 inputs: 'Tensor', classes: tuple[str, ...]) -> None:
    from mmwsss.visualization.affinity import draw_stages, stage_maps
    from mmwsss.visualization.draw import save_png
    maps = stage_maps(model, inputs, points, args.stages)
    shown = _shown_class(args, maps.scores, classes)
    sheet = draw_stages(
        image, points, {f'stage {stage}, {_grid(grid)}': grid.cpu().numpy() for stage, grid in maps.similarity.items()},
        {f'CAM: {classes[shown]}': maps.cam[shown].cpu().numpy()}, f'{Path(args.image).name}, scale {args.scale:g}',
        args.height)
    save_png(args.out, sheet)
    print(f'{args.out}: {len(points)} points, scale {args.scale:g}, stages {", ".join(args.stages)}, {classes[shown]} '
          f'(score {maps.scores[shown]:.3f})')
    for stage, grid in maps.similarity.items():
        _print_maps(f'stage {stage}: similarity to {{}}', grid, args.points, points)


def _shown_class(args: argparse.Namespace, scores: 'Tensor', classes: tuple[str, ...]) -> int:
    return scores.argmax().item() if args.class_name is None else classes.index(args.class_name)


def _grid(maps: 'Tensor') -> str:
    return f'{maps.shape[-1]} x {maps.shape[-2]}'


def _print_maps(head: str, maps: 'Tensor', texts: list[str], points: list[tuple[float, float]]) -> None:
    """Prints the mean of each point's map P x h x w and its values at the other points."""
    height, width = maps.shape[-2:]
    for i, text in enumerate(texts):
        parts = [f'{maps[i].mean():.3f} on average']
        parts += [f'{maps[i, int(y * height), int(x * width)]:.3f} from {other}'
                  for j, (other, (x, y)) in enumerate(zip(texts, points)) if j != i]
        print(f'{head.format(text)}: {", ".join(parts)}')
    if len({(int(x * width), int(y * height)) for x, y in points}) < len(points):
        print(f'some points share a position of the {_grid(maps)} grid and so their map; a larger --scale tells them '
              'apart')
