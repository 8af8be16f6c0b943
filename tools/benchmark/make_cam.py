"""CAM making, ours against the way of the original repositories, in one run.

The originals (PSA, SEAM, IRNet) take one image at a time: rescale it with PIL, forward each scale with its mirror
image as a batch of two in float32, contiguous, add the maps at stride 4, write a file. Ours takes batches of
same-sized images, channels-last, optionally in bfloat16.

Both are timed from the first image read to the last file written, with the same
number of reading workers and threads, and evaluated on the same images.

    python tools/benchmark/make_cam.py CONFIG CHECKPOINT --data-root DIR --split train --num-images 200
"""
import argparse
import copy
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from mmwsss.apis import runner as runner_api
from mmwsss.apis.cam_files import make_cam
from mmwsss.apis.evaluation import evaluate_cam_dir
from mmwsss.apis.runner import load_for_inference
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import load_config
from mmwsss.datasets import read_split
from mmwsss.registry import DATASETS, MODELS
from mmwsss.structures.cam_file import CAMFile, CAMManifest, open_cam_dir, write_cam
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json


class OneImageAtATime(Dataset):
    """The views of one image per item, normalised, as the originals' data sets give them."""

    def __init__(self, items: list[dict], preprocessor: torch.nn.Module, scales: tuple[float, ...]) -> None:
        self.items, self.scales = items, scales
        self.mean, self.std = preprocessor.mean.view(-1).numpy(), preprocessor.std.view(-1).numpy()
        self.rgb = preprocessor._channel_conversion

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        image = Image.open(self.items[index]['img_path']).convert('RGB')
        views = []
        for scale in self.scales:
            size = round(image.width * scale), round(image.height * scale)
            array = np.asarray(image if scale == 1 else image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
            array = (array if self.rgb else array[..., ::-1]) - self.mean
            view = (array / self.std).astype(np.float32).transpose(2, 0, 1)
            views.append(torch.from_numpy(np.stack([view, view[:, :, ::-1]])))
        return dict(index=index, views=views, size=(image.height, image.width))


@torch.no_grad()
def original_way(model, dataset: OneImageAtATime, out_dir: Path, num_workers: int) -> None:
    """Makes the CAM files one image and its mirror image at a time."""
    loader = DataLoader(dataset, batch_size=None, num_workers=num_workers)
    for item in loader:
        info = dataset.items[item['index']]
        height, width = item['size']
        grid = (height - 1) // 4 + 1, (width - 1) // 4 + 1
        total = 0
        for view in item['views']:
            maps = F.relu(model.cam_head(model.extract_feat(view)))
            total = total + F.interpolate((maps[0] + maps[1].flip(-1))[None], grid, mode='bilinear')[0]
        classes = np.flatnonzero(info['gt_img_label'])
        cam = total[classes]
        cam = cam / (cam.amax(dim=(1, 2), keepdim=True) + 1e-5)
        content = CAMFile(classes.astype(np.int64), cam.half().numpy(), (height, width))
        write_cam(out_dir / f"{info['stem']}.npz", content)


def timed_make_cam(cfg, checkpoint: str, out_dir: Path) -> float:
    """Makes the CAM files our way; returns the seconds of the test loop, without building the model."""
    seconds: list[float] = []
    run = runner_api.LoggedRunner.test

    def timed(self):
        start = time.perf_counter()
        metrics = run(self)
        seconds.append(time.perf_counter() - start)
        return metrics

    runner_api.LoggedRunner.test = timed
    try:
        make_cam(cfg, checkpoint, out_dir)
    finally:
        runner_api.LoggedRunner.test = run
    return seconds[0]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--data-root', required=True)
    parser.add_argument('--split', default='train')
    parser.add_argument('--num-images', type=int, default=200, help='images, evenly spread over the split')
    parser.add_argument('--num-workers', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=1, help='every way is timed so often; the fastest counts')
    parser.add_argument('--out', help='json file for the figures')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    cfg = load_config(args.config, args.data_root)
    if args.num_images < 1 or args.rounds < 1:
        raise UserError('--num-images and --rounds must be at least 1')
    if not cfg.model.get('inference_hooks'):
        raise UserError(f'{args.config}: has no inference_hooks; name the config of a CAM classifier')
    init_default_scope(cfg.default_scope)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stems = read_split(args.data_root, args.split)
        count = min(args.num_images, len(stems))
        chosen = [stems[i * len(stems) // count] for i in range(count)]
        split_file = work / 'benchmark.txt'
        split_file.write_text('\n'.join(chosen) + '\n')
        cfg.test_dataloader.dataset.split = str(split_file)
        cfg.test_dataloader.num_workers = args.num_workers
        figures = measure(cfg, args, work, str(split_file))
    table = Table(title=f'{len(chosen)} images, {torch.get_num_threads()} threads, {args.num_workers} reading workers')
    for column in ('way', 'images / s', 'ratio', 'mIoU (oracle threshold)'):
        table.add_column(column, justify='right' if column != 'way' else 'left')
    slowest = figures['original']['seconds']
    for name, figure in figures.items():
        figure['ratio'] = slowest / figure['seconds']
        table.add_row(name, f"{len(chosen) / figure['seconds']:.2f}", f"{figure['ratio']:.2f} x",
                      f"{100 * figure['mIoU']:.2f} at {figure['threshold']:.2f}")
    Console().print(table)
    if args.out:
        write_json(args.out, dict(num_images=len(chosen), threads=torch.get_num_threads(), figures=figures))
    return 0


def measure(cfg, args: argparse.Namespace, work: Path, split: str) -> dict[str, dict]:
    """Runs every way ``args.rounds`` times, in turns; returns seconds, mIoU and threshold by name."""
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MODELS.build(cfg.model).eval()
    load_for_inference(model, args.checkpoint, dataset.metainfo['classes'])
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    views = OneImageAtATime(items, model.data_preprocessor, tuple(cfg.model.inference_hooks[0].scales))
    figures: dict[str, dict] = {}
    for _ in range(args.rounds):
        for name, amp in (('original', None), ('ours, float32', None), ('ours, bfloat16', 'bfloat16')):
            out_dir = work / 'cam'
            shutil.rmtree(out_dir, ignore_errors=True)
            if name == 'original':
                open_cam_dir(out_dir, CAMManifest(checkpoint_sha256=None, config_hash=None,
                                                  classes=dataset.metainfo['classes']))
                start = time.perf_counter()
                original_way(model, views, out_dir, args.num_workers)
                seconds = time.perf_counter() - start
            else:
                ours = copy.deepcopy(cfg)
                ours.test_cfg.amp = amp
                seconds = timed_make_cam(ours, args.checkpoint, out_dir)
            if name not in figures or seconds < figures[name]['seconds']:
                report = evaluate_cam_dir(out_dir, args.data_root, split)
                figures[name] = dict(seconds=seconds, mIoU=report['mIoU'], threshold=report['threshold'])
    return figures


if __name__ == '__main__':
    run_cli(main)
