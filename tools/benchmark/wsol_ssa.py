"""SSA's Tables 1 and 2 on a localization set: wsol_ssa.py DATA --weights vgg16.pth --work-dir DIR.

What takes the time on a CPU is VGG16. So it keeps its ImageNet weights here, runs once over every image, and what is
trained for every seed is what stands behind it: the convolution of 1,024 channels and the CAM head of
configs/wsol/cam_vgg16_small.py, on the whole images. As the features are the same for all seeds, so are SSA's
affinities, and the maps of all seeds are expanded together. Thresholds are chosen on the split `held_out` and used on
`test`; those that are best on `test` itself are reported beside them.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData, PixelData
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import load_config
from mmwsss.datasets import LocalizationDataset
from mmwsss.evaluation import BoxLocalizationMetric
from mmwsss.inference.ssa import expand_seed
from mmwsss.models import RestrictedActivationLoss
from mmwsss.models.heads.single_label_cam_head import class_indices
from mmwsss.registry import MODELS
from mmwsss.structures.maps import grid_size, resize_maps
from mmwsss.utils.fileio import atomic_path, write_json
from mmwsss.utils.memory import keep_freed_memory

CONFIG = Path(__file__).parents[2] / 'configs/wsol/cam_vgg16_small.py'
STAGES = ('3', '4', '5')
# Rows of Table 2, stages whose expansions are summed; and of Table 1, number of blocks with stages 4 and 5.
TABLE_2 = ((), ('3',), ('4',), ('5',), ('3', '4'), ('3', '5'), ('4', '5'), ('3', '4', '5'))
TABLE_1 = (1, 2, 3)
BLOCKS = 2
METHODS = ('CAM', 'SPA')


def make_features(data: str, split: str, side: int, model: torch.nn.Module, path: Path, all_stages: bool) -> dict:
    """Runs the backbone over a split once and keeps the result in a file.

    Returns:
        ``labels`` float32 [N, C]; ``5`` (and ``3``, ``4``) float16 [N, K, h, w].
    """
    if path.is_file():
        return torch.load(path, weights_only=True)
    dataset = LocalizationDataset(data, split, pipeline=[
        dict(type='LoadImage'), dict(type='Resize', scale=(side, side), keep_ratio=False),
        dict(type='PackWSSSInputs')])
    parts: dict[str, list] = {name: [] for name in (STAGES if all_stages else STAGES[-1:])}
    labels = []
    for i in track(range(len(dataset)), description=f'features of {split}'):
        batch = model.data_preprocessor(pseudo_collate([dataset[i]]))
        with torch.no_grad():
            feats = dict(zip(STAGES, model.backbone(batch['inputs'].contiguous(memory_format=torch.channels_last))))
        for name, part in parts.items():
            part.append(feats[name].half().contiguous())
        labels.append(batch['data_samples'][0].gt_img_label.label)
    result = {name: torch.cat(part) for name, part in parts.items()} | dict(labels=torch.stack(labels))
    with atomic_path(path) as temporary:
        torch.save(result, temporary)
    return result


def train_heads(model: torch.nn.Module, train: dict, method: str, seed: int, epochs: int, batch: int = 16,
                lr: float = 0.01) -> dict:
    """Trains neck and head on features, with the optimizer of the config's new layers.

    Returns:
        Their state dict.
    """
    torch.manual_seed(seed)
    model.neck.init_weights()
    model.cam_head.init_weights()
    parts = torch.nn.ModuleList([model.neck, model.cam_head])
    optimizer = torch.optim.SGD(parts.parameters(), lr=lr, momentum=.9, weight_decay=5e-4, nesterov=True)
    restricted = RestrictedActivationLoss(loss_weight=.1)
    steps = epochs * (len(train['labels']) // batch)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, power=.9)
    step = 0
    for epoch in range(epochs):
        losses = []
        for index in torch.randperm(len(train['labels'])).split(batch):
            if len(index) < batch:
                continue
            labels = train['labels'][index]
            feats = train['5'][index].float()
            # The mirror image of the features stands for that of the image.
            feats = torch.where(torch.rand(batch, 1, 1, 1) < .5, feats.flip(-1), feats)
            maps = model.cam_head(model.neck((feats,)))
            loss = model.cam_head.loss_by_maps(maps, labels)
            if method == 'SPA' and 2 * step >= steps:  # at the start every position looks alike
                loss = loss + restricted(maps, class_indices(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            losses.append(loss.item())
        print(f'{method} seed {seed} epoch {epoch + 1}: loss {np.mean(losses):.3f}', flush=True)
    return parts.state_dict()


@torch.no_grad()
def seeds_of(model: torch.nn.Module, states: list[dict], feats: torch.Tensor,
             labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the seed CAMs of the images' class by every head, N x S x h x w, and the scores, S x N x C."""
    parts = torch.nn.ModuleList([model.neck, model.cam_head])
    cams, scores = [], []
    for state in states:
        parts.load_state_dict(state)
        maps = torch.cat([model.cam_head(model.neck((part.float(),))) for part in feats.split(16)])
        scores.append(model.pool(maps).softmax(dim=1))
        chosen = maps[torch.arange(len(maps)), class_indices(labels)]
        cams.append(chosen - chosen.amin(dim=(1, 2), keepdim=True))
    return torch.stack(cams, dim=1), torch.stack(scores)


def rows_of(seeds: torch.Tensor, feats: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Computes the maps of all rows of both tables for one image.

    Args:
        seeds: 1 x S x h x w.
        feats: Of every stage, 1 x K x h' x w'.

    Returns:
        Name of a row -> 1 x S x h'' x w''.
    """
    def expand(stage: str, blocks: int) -> torch.Tensor:
        feat = feats[stage].float()
        return expand_seed(resize_maps(seeds, feat.shape[-2:]), feat, blocks, 'cosine', 'column')

    def fuse(maps: list[torch.Tensor]) -> torch.Tensor:
        size = max(tuple(m.shape[-2:]) for m in maps)
        return sum(resize_maps(m, size) for m in maps)

    expanded = {stage: expand(stage, BLOCKS) for stage in feats}
    rows = {name_of(stages, BLOCKS): fuse([expanded[stage] for stage in stages]) if stages else seeds
            for stages in TABLE_2 if all(stage in feats for stage in stages)}
    for blocks in TABLE_1:
        if blocks != BLOCKS:
            rows[name_of(('4', '5'), blocks)] = fuse([expand(stage, blocks) for stage in ('4', '5')])
    return rows


def name_of(stages: tuple[str, ...], blocks: int) -> str:
    """Returns the name of a row."""
    return f'stage {" + ".join(stages)}, {blocks} blocks' if stages else 'no SSA'


def judge(data: str, split: str, feats: dict, model: torch.nn.Module, states: list[dict], skip: tuple[str, ...],
          chosen: dict | None) -> dict[str, list[dict]]:
    """Evaluates every row with every head; ``chosen``: row -> report files of every head to take thresholds from.

    Returns:
        Row -> the report of every head.
    """
    dataset = LocalizationDataset(data, split, require_boxes=True)
    cams, scores = seeds_of(model, states, feats['5'], feats['labels'])
    metrics: dict[str, list[BoxLocalizationMetric]] = {}
    for i in track(range(len(dataset)), description=f'maps of {split}'):
        info = dataset.get_data_info(i)
        size = (info['height'], info['width'])
        of_stages = {stage: feats[stage][i:i + 1] for stage in STAGES if stage not in skip}
        for row, maps in rows_of(cams[i:i + 1], of_stages).items():
            if row not in metrics:
                metrics[row] = [BoxLocalizationMetric(threshold=chosen and str(chosen[row][k]), size='contour')
                                for k in range(len(states))]
            maps = resize_maps(maps, grid_size(size, 1))[0]
            label = feats['labels'][i]
            for k, metric in enumerate(metrics[row]):
                cam = (maps[k] - maps[k].min()) / (maps[k].max() - maps[k].min()).clamp(min=1e-12)
                metric.process({}, [dict(
                    info, ori_shape=size, cam_gate='label', pred_cam=PixelData(data=cam[None].half()),
                    gt_img_label=LabelData(label=label),
                    pred_img_label=LabelData(label=label.nonzero().flatten(), score=scores[k, i]))])
    return {row: [metric.report(len(dataset)) for metric in of_row] for row, of_row in metrics.items()}


def table(reports: dict[str, list[dict]], heads: list[tuple[str, int]], kind: str, errors: str) -> Table:
    """Returns mean and standard deviation over the seeds of the errors in percent, a row for every method and row."""
    title = 'thresholds chosen on held-out images' if errors == 'errors' else 'best thresholds on the test (oracle)'
    result = Table(title=f'errors, box {kind}; {title}')
    for column in ('method', 'SSA', 'top-1', 'top-5', 'GT-known', 'MaxBoxAcc', 'MaxBoxAccV2', 'PxAP', 'peak IoU'):
        result.add_column(column)
    for method in METHODS:
        for row, of_row in reports.items():
            mine = [report for (name, _), report in zip(heads, of_row) if name == method]
            if not mine:
                continue
            values = [[report[errors][kind][error] for report in mine] for error in ('top1', 'top5', 'gt_known')]
            values += [[report[name] for report in mine] for name in ('MaxBoxAcc', 'MaxBoxAccV2', 'PxAP', 'peak_IoU')]
            result.add_row(method, row, *(f'{100 * np.mean(v):.1f} ± {100 * np.std(v):.1f}' for v in values))
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', help='localization set with the splits train, held_out and test')
    parser.add_argument('--weights', required=True, help="VGG16's ImageNet weights, torchvision's key names")
    parser.add_argument('--work-dir', required=True, help='features, heads and reports; what is there is used again')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--side', type=int, default=224, help='images are resized to this square; default 224')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--skip-stages', nargs='*', choices=STAGES[:1], default=[],
                        help='stage 3 has 3,136 positions, and takes most of the time')
    parser.add_argument('--features-only', action='store_true', help='stop after the features')
    args = parser.parse_args(argv)
    keep_freed_memory()
    work = Path(args.work_dir)
    work.mkdir(parents=True, exist_ok=True)
    cfg = load_config(CONFIG, args.data)
    init_default_scope('mmwsss')
    cfg.model.backbone.init_cfg = dict(type='StrictPretrained', checkpoint=args.weights)
    model = MODELS.build(cfg.model)
    model.backbone.init_weights()
    model.eval().to(memory_format=torch.channels_last)
    feats = {split: make_features(args.data, split, args.side, model, work / f'{split}.pth', split != 'train')
             for split in ('train', 'held_out', 'test')}
    if args.features_only:
        return 0
    heads = [(method, seed) for method in args.methods for seed in args.seeds]
    states = []
    for method, seed in heads:
        path = work / f'{method}_{seed}_{args.epochs}.pth'
        if not path.is_file():
            state = train_heads(model, feats['train'], method, seed, args.epochs)
            with atomic_path(path) as temporary:
                torch.save(state, temporary)
        states.append(torch.load(path, weights_only=True))
    skip = tuple(args.skip_stages)
    chosen: dict[str, list[Path]] = {}
    for row, reports in judge(args.data, 'held_out', feats['held_out'], model, states, skip, None).items():
        chosen[row] = []
        for (method, seed), report in zip(heads, reports):
            chosen[row].append(work / f'held_out {method} {seed} {row}.json')
            write_json(chosen[row][-1], report)
    reports = judge(args.data, 'test', feats['test'], model, states, skip, chosen)
    write_json(work / 'reports.json', json.loads(json.dumps(
        [dict(method=method, seed=seed, row=row, report={k: v for k, v in report.items() if k != 'curves'})
         for row, of_row in reports.items() for (method, seed), report in zip(heads, of_row)])))
    console = Console(width=150)
    console.print('classification error, top-1: ' + ', '.join(
        f'{method} {seed}: {100 * report["classification_error"]["top1"]:.1f}'
        for (method, seed), report in zip(heads, reports[name_of((), BLOCKS)])), highlight=False)
    for kind in ('max', 'union'):
        for errors in ('errors', 'oracle_errors'):
            console.print(table(reports, heads, kind, errors))
    return 0


if __name__ == '__main__':
    run_cli(main)
