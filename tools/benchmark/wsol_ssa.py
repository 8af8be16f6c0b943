"""SSA's Tables 1 and 2 on a localization set: wsol_ssa.py DATA --weights vgg16.pth --work-dir DIR.

What takes the time on a CPU is VGG16. So it keeps its ImageNet weights here, runs once over every image, and what is
trained for every seed is what stands behind it: the convolution of 1,024 channels and the CAM head of
configs/wsol/cam_vgg16_small.py, on the whole images. As the features are the same for all seeds, so are SSA's
affinities, and the maps of all seeds are expanded together. Thresholds are chosen on the split `held_out` and used on
`test`; those that are best on `test` itself are reported beside them.

Features and heads in the work folder are used again by a run of the same images, --side and --weights; a run of others
is refused.
"""
import argparse
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import load_config
from mmwsss.datasets import DataFolder, LocalizationDataset
from mmwsss.evaluation import BoxLocalizationMetric
from mmwsss.evaluation.box_localization import levels_of
from mmwsss.evaluation.component_tree import component_tree
from mmwsss.inference.ssa import expand_seed
from mmwsss.models import RestrictedActivationLoss
from mmwsss.models.heads.single_label_cam_head import class_indices
from mmwsss.registry import MODELS
from mmwsss.structures.image_file import read_image
from mmwsss.structures.maps import resize_maps
from mmwsss.structures.settings_folder import SettingsFolder
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path, sha256_of_file, write_json
from mmwsss.utils.memory import keep_freed_memory
from mmwsss.visualization.boxes import FOUND, GROUND_TRUTH, draw_boxes
from mmwsss.visualization.draw import draw_cam, save_png, side_by_side

CONFIG = Path(__file__).parents[2] / 'configs/wsol/cam_vgg16_small.py'
STAGES = ('3', '4', '5')
# Rows of Table 2, stages whose expansions are summed; and of Table 1, number of blocks with stages 4 and 5.
TABLE_2 = ((), ('3',), ('4',), ('5',), ('3', '4'), ('3', '5'), ('4', '5'), ('3', '4', '5'))
TABLE_1 = (1, 2, 3)
BLOCKS = 2
METHODS = ('CAM', 'SPA')
SPLITS = ('train', 'held_out', 'test')


def open_split(data: str, split: str, side: int, max_images: int | None) -> LocalizationDataset:
    """Returns a split, or so many of its images, evenly spread; they are loaded at ``side`` x ``side``."""
    dataset = LocalizationDataset(data, split, pipeline=[
        dict(type='LoadImage'), dict(type='Resize', scale=(side, side), keep_ratio=False),
        dict(type='PackWSSSInputs')])
    if max_images is None or max_images >= len(dataset):
        return dataset
    return dataset.get_subset(np.linspace(0, len(dataset) - 1, max_images).round().astype(int).tolist())


def settings_of(dataset: LocalizationDataset, data: str, side: int, weights: str) -> dict[str, object]:
    """Returns what the features of a split depend on."""
    stems = [dataset.get_data_info(i)['stem'] for i in range(len(dataset))]
    return dict(images=DataFolder.find(data).fingerprint(stems), num_images=len(stems), side=side,
                classes=list(dataset.metainfo['classes']), weights=sha256_of_file(weights))


def make_features(dataset: LocalizationDataset, split: str, model: torch.nn.Module, folder: SettingsFolder) -> dict:
    """Runs the backbone over a split once and keeps the result in a folder.

    Returns:
        ``labels`` float32 [N, C]; ``5`` (and ``3``, ``4``) float16 [N, K, h, w].
    """
    folder.open()
    path = folder.path / 'features.pth'
    if path.is_file():
        return torch.load(path, weights_only=True)
    parts: dict[str, list] = {name: [] for name in (STAGES[-1:] if split == 'train' else STAGES)}
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
    for part in (model.neck, model.cam_head):
        part._is_init = False  # MMEngine initialises a part once only
        part.init_weights()
    parts = torch.nn.ModuleList([model.neck, model.cam_head])
    optimizer = torch.optim.SGD(parts.parameters(), lr=lr, momentum=.9, weight_decay=5e-4, nesterov=True)
    restricted = RestrictedActivationLoss(loss_weight=.1)
    batch = min(batch, len(train['labels']))
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


def name_of(stages: tuple[str, ...], blocks: int) -> str:
    """Returns the name of a row."""
    return f'stage {" + ".join(stages)}, {blocks} blocks' if stages else 'no SSA'


HEADLINE = (name_of((), BLOCKS), name_of(('4', '5'), BLOCKS))


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


def min_max(cam: torch.Tensor) -> torch.Tensor:
    """Brings a map to [0, 1]."""
    return (cam - cam.min()) / (cam.max() - cam.min()).clamp(min=1e-12)


def evaluate(dataset: LocalizationDataset, split: str, feats: dict, model: torch.nn.Module, states: list[dict],
          whole: list[bool], skip: tuple[str, ...], chosen: dict) -> dict[tuple[str, int], dict]:
    """Evaluates the rows with the heads, those that are not ``whole`` with :data:`HEADLINE` only.

    Args:
        dataset: The images.
        split: Their split, for the progress bar.
        feats: Their features.
        model: The model, whose neck and head are filled in.
        states: Of every head.
        whole: Of every head, whether all rows are wanted.
        skip: Stages that take no part.
        chosen: (row, number of the head) -> file of the report to take thresholds from; where there is none, the best.

    Returns:
        (row, number of the head) -> the report.
    """
    cams, scores = seeds_of(model, states, feats['5'], feats['labels'])
    metrics: dict[tuple[str, int], BoxLocalizationMetric] = {}
    for i in track(range(len(dataset)), description=f'maps of {split}'):
        info = dataset.get_data_info(i)
        size = (info['height'], info['width'])
        label = feats['labels'][i]
        of_stages = {stage: feats[stage][i:i + 1] for stage in STAGES if stage not in skip}
        for row, maps in rows_of(cams[i:i + 1], of_stages).items():
            maps = resize_maps(maps, size)[0]
            for k, cam in enumerate(maps):
                if not whole[k] and row not in HEADLINE:
                    continue
                if (row, k) not in metrics:
                    threshold = chosen.get((row, k))
                    metrics[row, k] = BoxLocalizationMetric(threshold=threshold and str(threshold), size='contour')
                # As an evaluator hands over samples: dicts throughout.
                metrics[row, k].process({}, [dict(
                    info, ori_shape=size, class_filter='label', pred_cam=dict(data=min_max(cam)[None].half()),
                    gt_img_label=dict(label=label),
                    pred_img_label=dict(label=label.nonzero().flatten(), score=scores[k, i]))])
    return {key: metric.report(len(dataset)) for key, metric in metrics.items()}


def table(reports: dict[tuple[str, int], dict], heads: list[tuple[str, int]], kind: str, errors: str) -> Table:
    """Returns mean and standard deviation over the seeds of the errors in percent, a row for every method and row."""
    title = 'thresholds chosen on held-out images' if errors == 'errors' else 'best thresholds on the test (oracle)'
    result = Table(title=f'errors, box {kind}; {title}')
    for column in ('method', 'SSA', 'seeds', 'top-1', 'top-5', 'GT-known', 'MaxBoxAcc', 'MaxBoxAccV2', 'PxAP',
                   'peak IoU'):
        result.add_column(column)
    for method in METHODS:
        for row in dict.fromkeys(row for row, _ in reports):
            mine = [report for (name, k), report in reports.items() if name == row and heads[k][0] == method]
            if not mine:
                continue
            values = [[report[errors][kind][error] for report in mine] for error in ('top1', 'top5', 'gt_known')]
            values += [[report[name] for report in mine] for name in ('MaxBoxAcc', 'MaxBoxAccV2', 'PxAP', 'peak_IoU')]
            result.add_row(method, row, str(len(mine)), *map(mean_and_deviation, values))
    return result


def mean_and_deviation(values: list[float | None]) -> str:
    """Returns both in percent (n - 1); a dash where there is nothing to compute, such as PxAP without masks."""
    if None in values:
        return '-'
    return f'{100 * np.mean(values):.1f}' + (f' ± {100 * np.std(values, ddof=1):.1f}' if len(values) > 1 else '')


def draw(dataset: LocalizationDataset, feats: dict, model: torch.nn.Module, state: dict, thresholds: dict[str, float],
         skip: tuple[str, ...], count: int, path: Path) -> None:
    """Draws some images with their boxes (green) and those of the largest component (red), with and without SSA."""
    cams, _ = seeds_of(model, [state], feats['5'], feats['labels'])
    rows = []
    for i in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        info = dataset.get_data_info(i)
        image = draw_boxes(read_image(info['img_path']), info['gt_boxes'], GROUND_TRUTH)
        maps = rows_of(cams[i:i + 1], {stage: feats[stage][i:i + 1] for stage in STAGES if stage not in skip})
        cells = [image]
        for row in HEADLINE:
            cam = min_max(resize_maps(maps[row], image.shape[:2])[0, 0]).numpy()
            levels = levels_of(cam, np.array([thresholds[row]]))
            cells.append(draw_boxes(draw_cam(image, cam), component_tree(levels, 1).largest('contour')[0], FOUND))
        rows.append(cells)
    save_png(path, side_by_side(rows, ['', *HEADLINE], height=200))


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
    parser.add_argument('--max-train', type=int, help='train on so many images only')
    parser.add_argument('--max-evaluated', type=int, help='evaluate on so many images of either split only')
    parser.add_argument('--all-rows', nargs='+', metavar='METHODSEED',
                        help='what all rows are computed of, such as CAM0; of the others only the first and the best '
                             'of the paper; default the first seed of every method')
    parser.add_argument('--pictures', type=int, default=0, metavar='N', help='draw N images of the test into boxes.png')
    parser.add_argument('--only', choices=['heads', 'features'],
                        help='only train, or only make the features of the other splits: two processes, side by side')
    args = parser.parse_args(argv)
    heads = [(method, seed) for method in args.methods for seed in args.seeds]
    names = [f'{method}{seed}' for method, seed in heads]
    all_rows = args.all_rows or [f'{method}{args.seeds[0]}' for method in args.methods]
    check(args, names, all_rows)
    keep_freed_memory()
    work = Path(args.work_dir)
    cfg = load_config(CONFIG, args.data)
    init_default_scope('mmwsss')
    datasets, folders = {}, {}
    for split in dict(heads=('train',), features=('test', 'held_out')).get(args.only, SPLITS):
        datasets[split] = open_split(args.data, split, args.side,
                                     args.max_train if split == 'train' else args.max_evaluated)
        settings = settings_of(datasets[split], args.data, args.side, args.weights)
        folders[split] = SettingsFolder(work / f'features_{split}', settings, 'features', '.pth', '--work-dir')
        if split == 'train':
            folders['heads'] = SettingsFolder(work / 'heads', settings, 'heads', '.pth', '--work-dir')
    for folder in folders.values():
        folder.check()  # before the first of them takes its hour

    cfg.model.backbone.init_cfg = dict(type='StrictPretrained', checkpoint=args.weights)
    model = MODELS.build(cfg.model)
    model.backbone.init_weights()
    model.eval().to(memory_format=torch.channels_last)

    def features(split: str) -> dict:
        return make_features(datasets[split], split, model, folders[split])

    if args.only == 'features':
        for split in datasets:
            features(split)
        return 0
    train = features('train')
    folders['heads'].open()
    states = []
    for method, seed in heads:
        path = folders['heads'].path / f'{method}_seed{seed}_{args.epochs}epochs.pth'
        if not path.is_file():
            state = train_heads(model, train, method, seed, args.epochs)
            with atomic_path(path) as temporary:
                torch.save(state, temporary)
        states.append(torch.load(path, weights_only=True))
    if args.only == 'heads':
        return 0

    def reports_of(split: str, chosen: dict) -> dict:
        return evaluate(datasets[split], split, features(split), model, states, [name in all_rows for name in names],
                     tuple(args.skip_stages), chosen)

    chosen: dict[tuple[str, int], Path] = {}
    (work / 'held_out').mkdir(exist_ok=True)
    for (row, k), report in reports_of('held_out', {}).items():
        chosen[row, k] = work / 'held_out' / f'{names[k]}, {row}.json'
        write_json(chosen[row, k], report)
    reports = reports_of('test', chosen)
    write_json(work / 'reports.json', [
        dict(method=heads[k][0], seed=heads[k][1], row=row,
             report={name: value for name, value in report.items() if name != 'curves'})
        for (row, k), report in reports.items()])
    if args.pictures:
        thresholds = {row: reports[row, 0]['errors']['max']['threshold'] for row in HEADLINE}
        draw(datasets['test'], features('test'), model, states[0], thresholds, tuple(args.skip_stages), args.pictures,
             work / 'boxes.png')
    console = Console(width=150)
    console.print('classification error, top-1: ' + ', '.join(
        f'{name}: {100 * reports[HEADLINE[0], k]["classification_error"]["top1"]:.1f}'
        for k, name in enumerate(names)), highlight=False)
    for kind in ('max', 'union'):
        for errors in ('errors', 'oracle_errors'):
            console.print(table(reports, heads, kind, errors))
    return 0


def check(args: argparse.Namespace, names: list[str], all_rows: list[str]) -> None:
    """Refuses what cannot be computed, before anything is."""
    if not Path(args.weights).is_file():
        raise UserError(f'--weights {args.weights}: no such file')
    for option, value, least in (('--epochs', args.epochs, 1), ('--side', args.side, 32),
                                 ('--max-train', args.max_train, 1), ('--max-evaluated', args.max_evaluated, 1)):
        if value is not None and value < least:
            raise UserError(f'{option}: must be at least {least}, not {value}')
    if unknown := [name for name in all_rows if name not in names]:
        raise UserError(f'--all-rows: {unknown[0]} is none of {", ".join(names)}; see --methods and --seeds')


if __name__ == '__main__':
    run_cli(main)
