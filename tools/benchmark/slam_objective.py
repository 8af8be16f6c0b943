r"""What SLAM's objective says of maps that are known to be good or bad, before anything is trained on it.

An objective can only teach a network what is cheapest by it. This computes the losses of a SLAM config, on images with
ground truth masks, for: the ground truth itself, 0.5 everywhere, the whole image but the other classes ("class +
background"), everything, nothing, the ground truth made larger and smaller, and the plain CAM of the classifier that
the config starts from. Every loss is the mean over the images; with ground truth at the bottom of the total, the
objective is fit for training. Beside it stands the mIoU of the maps at their best threshold. The ground truth is used
for these two alone. Below the table: how well the encoder knows whole images of the split, as the mean cosine of the
classes that are in them and of those that are not.

With --descend STEPS the maps of every image themselves are what descends the objective (Adam, no network), from the
plain CAM and from the ground truth: what is left of the mIoU is what a network that trained perfectly would reach, if
nothing but the objective held it.

    python tools/benchmark/slam_objective.py configs/slams/slam_efflite0_small.py --data-root DIR --num-images 200 \
        --cfg-options model.encoder.init_cfg.checkpoint=ENCODER model.backbone.init_cfg.checkpoint=CLASSIFIER \
        model.cam_head.init_cfg.checkpoint=CLASSIFIER
"""
import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.cfg_options import CfgOptions
from mmwsss.config.config import load_config
from mmwsss.evaluation.label_metrics import load_mask
from mmwsss.evaluation.threshold_curve import DEFAULT_THRESHOLDS, CAMHistogram, cam_histogram, curve_from_histogram
from mmwsss.models import SLAM
from mmwsss.models.classifiers.base_cam_model import stack_labels
from mmwsss.models.losses import present_categories
from mmwsss.registry import DATASETS, MODELS
from mmwsss.structures.maps import grid_size, max_normalize, rescale_images, resize_maps
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json

TRUTH, CAM = 'ground truth', 'plain CAM'


def candidates(mask: Tensor, label: Tensor, cam: Tensor, threshold: float, has_complement: bool) -> dict[str, Tensor]:
    """Makes the activations that the objective is computed for.

    Args:
        mask: H x W integers: 0 background, k + 1 for class k, 255 ignored.
        label: C, 0 or 1.
        cam: C x H x W in [0, 1].
        threshold: For a CAM of 0 and 1.
        has_complement: Whether the background is always the complement of the classes in the image.

    Returns:
        {name: K x H x W}, background first.
    """
    here = label[:, None, None]
    truth = torch.stack([mask == k + 1 for k in range(len(label))]).float() * here
    others = truth.sum(dim=0) - truth
    radius = max(1, min(mask.shape) // 16)

    def larger(maps: Tensor) -> Tensor:
        return F.max_pool2d(maps[None], 2 * radius + 1, 1, radius)[0]

    objects = {
        TRUTH: truth, 'all 0.5': torch.full_like(truth, 0.5), 'class + background': (1 - others) * here,
        'everything': torch.ones_like(truth), 'nothing': torch.zeros_like(truth),
        'ground truth, larger': larger(truth) * here, 'ground truth, smaller': 1 - larger(1 - truth),
        CAM: cam * here, f'{CAM} > {threshold:g}': (cam > threshold) * here}
    background = {'all 0.5': 0.5, 'class + background': 1.0, 'everything': 1.0, 'nothing': 1.0}
    result = {}
    for name, maps in objects.items():
        rest = 1 - (maps * here).amax(dim=0, keepdim=True)
        if name in background and not has_complement:
            rest = torch.full_like(rest, background[name])
        result[name] = torch.cat([rest, maps])
    return result


def descend(model: SLAM, inputs: Tensor, maps: Tensor, present: Tensor, steps: Sequence[int], stride: int = 16,
            lr: float = 0.1) -> dict[int, Tensor]:
    """Lets activations themselves descend the objective: a logit for every class and position of the network's grid.

    Args:
        model: A SLAM whose background is the complement; its losses and its encoder are used, not its network.
        inputs: 1 x 3 x H x W normalised image.
        maps: K x H x W in [0, 1], background first, to start from; they are kept .05 away from 0 and 1.
        present: 1 x K, 0 or 1.
        steps: Numbers of steps to return the activations after, ascending.
        stride: Pixels by position of the grid.
        lr: Learning rate of Adam.

    Returns:
        {number of steps: K x H x W activations}.
    """
    size = tuple(inputs.shape[-2:])
    start = F.interpolate(maps[None, 1:], grid_size(size, stride), mode='area')
    logits = start.clamp(0.05, 0.95).logit().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=lr)
    result = {}
    for step in range(1, steps[-1] + 1):
        with torch.enable_grad():
            activations = model.activations(logits * model.temperature, present, size)
            loss = sum(model.activation_losses(inputs, activations, present).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in steps:
            result[step] = model.activations(logits.detach() * model.temperature, present, size)[0]
    return result


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a SLAM config')
    parser.add_argument('--data-root', required=True)
    parser.add_argument('--split', default='train')
    parser.add_argument('--num-images', type=int, default=200, help='evenly spread over the split')
    parser.add_argument('--threshold', type=float, default=0.25, help='for a plain CAM of 0 and 1')
    parser.add_argument('--descend', type=int, nargs='+', default=[], metavar='STEPS',
                        help='maps after so many steps of descent, from the plain CAM and from the ground truth')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE')
    parser.add_argument('--out', help='json file for the figures')
    return parser.parse_args()


def mean_cosines(similarity: Tensor, present: Tensor) -> dict[str, float]:
    """Averages the cosines of categories that are in images, and of those that are not, over their pairs.

    Args:
        similarity: N x K in [0, 1], background first, which is left out.
        present: N x K, 0 or 1.

    Returns:
        ``present`` and ``absent``; nan where there is no such pair.
    """
    similarity, present = similarity[:, 1:], present[:, 1:] > 0
    return dict(present=float(similarity[present].mean()), absent=float(similarity[~present].mean()))


def prepare(model: SLAM, data: dict) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the normalised image (1 x 3 x H x W), its mask (H x W), its label (C) and its plain CAM (C x H x W)."""
    data = model.data_preprocessor(pseudo_collate([data]))
    inputs, sample = data['inputs'], data['data_samples'][0]
    if not sample.get('seg_map_path'):
        raise UserError(f'{sample.img_path}: has no ground truth mask, which this needs')
    mask = torch.from_numpy(load_mask(sample.seg_map_path, tuple(sample.ori_shape[:2]), model.num_classes,
                                      sample.get('mask_values'))).to(inputs.device)
    mask = F.interpolate(mask[None, None].float(), inputs.shape[-2:], mode='nearest')[0, 0].long()
    cam = resize_maps(max_normalize(model.compute_cam(inputs).cam), tuple(inputs.shape[-2:]))[0]
    return inputs, mask, stack_labels(data['data_samples'])[0].float(), cam


@dataclass
class Sums:
    """What a candidate's losses add up to over the images, and how its maps relate to the masks."""
    losses: dict[str, float]
    histogram: CAMHistogram

    def add(self, losses: Mapping[str, Tensor], maps: Tensor, mask: Tensor, label: Tensor) -> None:
        """Adds an image: its losses, K x H x W activations, H x W mask and label of C classes."""
        for key, value in losses.items():
            self.losses[key] = self.losses.get(key, 0.0) + float(value)
        classes = label.nonzero()[:, 0].cpu()
        self.histogram += cam_histogram(maps[1:][classes].cpu(), classes, mask.cpu().to(torch.uint8),
                                        DEFAULT_THRESHOLDS, len(label))

    def figures(self, count: int) -> dict[str, float]:
        """Returns the mean losses of ``count`` images, their sum, and the mIoU in per cent at the best threshold."""
        means = {key: value / count for key, value in self.losses.items()}
        return {**means, 'total': sum(means.values()),
                'mIoU': 100 * float(np.nanmax(curve_from_histogram(self.histogram)['mIoU']))}


def measure(model: SLAM, dataset: torch.utils.data.Dataset, num_images: int, threshold: float,
            steps: Sequence[int] = ()) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Returns {maps: :meth:`Sums.figures`} and :func:`mean_cosines`."""
    sums: dict[str, Sums] = {}
    similarities, presences = [], []
    chosen = range(0, len(dataset), max(1, len(dataset) // num_images))[:num_images]
    for index in chosen:
        inputs, mask, label, cam = prepare(model, dataset[index])
        present = present_categories(label[None])
        presences.append(present)
        similarities.append(model.encoder.similarity(rescale_images(inputs, model.encoder_scale)))
        maps = candidates(mask, label, cam, threshold, model.background == 'complement')
        if steps:
            for name in (CAM, TRUTH):
                maps |= {f'{name}, {step} steps': found
                         for step, found in descend(model, inputs, maps[name], present, steps).items()}
        for name, activations in maps.items():
            row = sums.setdefault(name, Sums({}, CAMHistogram.zeros(model.num_classes, len(DEFAULT_THRESHOLDS))))
            row.add(model.activation_losses(inputs, activations[None], present), activations, mask, label)
    return ({name: row.figures(len(chosen)) for name, row in sums.items()},
            mean_cosines(torch.cat(similarities), torch.cat(presences)))


def main() -> int:
    args = parse_args()
    if args.num_images < 1:
        raise UserError('--num-images must be at least 1')
    steps = sorted(set(args.descend))
    if steps and steps[0] < 1:
        raise UserError('--descend must be at least 1')
    cfg = load_config(args.config, args.data_root, args.cfg_options)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    if not isinstance(model, SLAM):
        raise UserError(f'{args.config}: is no SLAM, but {type(model).__name__}')
    if steps and (model.background, model.activation) != ('complement', 'sigmoid'):
        raise UserError("--descend needs model.background='complement' and model.activation='sigmoid'")
    model.init_weights()
    model.eval().requires_grad_(False)
    cfg.test_dataloader.dataset.split = args.split
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    with torch.no_grad():
        figures, cosines = measure(model, dataset, args.num_images, args.threshold, steps)
    table = Table(title=f'{min(args.num_images, len(dataset))} images of {args.split}')
    table.add_column('maps')
    for key in figures[TRUTH]:
        table.add_column(key.removeprefix('loss_'), justify='right')
    for name, row in figures.items():
        table.add_row(name, *(f'{value:.1f}' if key == 'mIoU' else f'{value:.3f}' for key, value in row.items()))
    best = min((name for name in figures if not name.endswith(' steps')), key=lambda name: figures[name]['total'])
    console = Console()
    console.print(table)
    console.print(f'cheapest: {best}' + ('' if best == TRUTH else '; this objective does not ask for the ground truth'),
                  highlight=False)
    present, absent = cosines['present'], cosines['absent']
    console.print(f'cosine of the classes in the images {present:.2f}, of the others {absent:.2f}', highlight=False)
    if args.out:
        write_json(args.out, dict(cheapest=best, figures=figures, cosines=cosines, config=args.config,
                                  cfg_options=dict(args.cfg_options or {})))
    return 0


if __name__ == '__main__':
    run_cli(main)
