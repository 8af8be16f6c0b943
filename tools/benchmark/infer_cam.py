"""Split & unite, iterative inference or InferCam: ours beside one crop at a time, and beside plain CAM making.

The plain way is the config's inference hooks without these three (or those of --plain CONFIG), ours are all of them
on batches of same-sized images. One crop at a time is the reference of the tests (tests/inference), on the same inner
CAM function: every image, patch and round by itself, nothing shared. Its maps must be ours; otherwise the tool fails.

Images with one, two and more classes are timed apart, since their cost differs. Printed are seconds, pixels that went
through the model, the ratios of both to the plain way, and the wall time beside the pixels.

    python tools/benchmark/infer_cam.py configs/infercam/infercam_r50_small.py CHECKPOINT --data-root DIR
"""
import argparse
import runpy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import Dataset

from mmwsss.apis.runner import load_for_inference
from mmwsss.cli.run_cli import run_cli
from mmwsss.config.cfg_options import CfgOptions
from mmwsss.config.config import load_config
from mmwsss.engine.fuse_conv_bn import fuse_conv_bn
from mmwsss.engine.memory_format import to_channels_last
from mmwsss.engine.mixed_precision import autocast
from mmwsss.inference import InferCam, InferenceHook, IterativeErase, SplitUnite, compose
from mmwsss.models.classifiers.base_cam_model import stack_labels
from mmwsss.registry import DATASETS, INFERENCE_HOOKS, MODELS
from mmwsss.structures import CAMFunction, CAMOutput
from mmwsss.structures.maps import max_normalize
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json
from mmwsss.utils.memory import keep_freed_memory
from mmwsss.utils.size_groups import group_by_size

TARGET = 1.1  # wall time may exceed the ratio of pixels by this factor
TOLERANCE = 2 ** -10
OURS = (SplitUnite, IterativeErase, InferCam)
NAMES = {1: 'one class', 2: 'two classes', 3: 'three or more'}


@dataclass
class Counter:
    """Counts what goes through a CAM function."""
    function: CAMFunction
    pixels: int = 0
    calls: int = 0

    def __call__(self, inputs: Tensor, labels: Tensor | None) -> CAMOutput:
        """Counts and calls."""
        self.pixels += inputs.shape[0] * inputs.shape[2] * inputs.shape[3]
        self.calls += 1
        return self.function(inputs, labels)


def load_batches(dataset: Dataset, model: torch.nn.Module, num_images: int,
                 batch_size: int) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Loads batches (images, labels) of one size by number of classes; about ``num_images``, spread over the sizes."""
    groups: dict[int, list[int]] = {number: [] for number in NAMES}
    for index in range(len(dataset)):
        number = min(int(dataset.get_data_info(index)['gt_img_label'].sum()), max(NAMES))
        if number:
            groups[number].append(index)
    loaded: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for number, indices in groups.items():
        infos = [dataset.get_data_info(index) for index in indices]
        batches = group_by_size([(info['height'], info['width']) for info in infos], batch_size)
        wanted = max(1, round(len(batches) * num_images / max(1, len(indices))))
        for batch in batches[::max(1, len(batches) // wanted)][:wanted]:
            data = model.data_preprocessor(pseudo_collate([dataset[indices[i]] for i in batch[:num_images]]))
            images = data['inputs'].contiguous(memory_format=torch.channels_last)
            loaded.setdefault(NAMES[number], []).append((images, stack_labels(data['data_samples']).to(images.device)))
    return loaded


def measure(ways: dict[str, Callable[[Counter, Tensor, Tensor], Tensor]], model: torch.nn.Module,
            batches: list[tuple[Tensor, Tensor]], repeats: int, amp: str | None) -> dict[str, dict]:
    """Runs every way on every batch, in turns.

    Returns:
        By name: ``seconds`` of the fastest repeat, ``pixels`` and ``calls`` of the model, the maps of each batch.
    """
    figures: dict[str, dict] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            counter = Counter(model.cam_function)
            with torch.no_grad(), autocast(model, amp):
                start = time.perf_counter()
                maps = [way(counter, images, labels) for images, labels in batches]
                if maps[0].is_cuda:
                    torch.cuda.synchronize()
                seconds = time.perf_counter() - start
            if name not in figures or seconds < figures[name]['seconds']:
                figures[name] = dict(seconds=seconds, pixels=counter.pixels, calls=counter.calls, maps=maps)
    return figures


def assert_equal(ours: list[Tensor], expected: list[Tensor]) -> float:
    """Asserts that two ways made the same maps; returns the largest difference, of maps with the maximum 1.

    Convolutions round differently in batches of another size, and a pixel at the threshold may then be erased by one
    way only; so the largest difference is shown, and the mean one of every image has to be small.
    """
    largest = 0.0
    for maps, others in zip(ours, expected):
        difference = (max_normalize(maps) - max_normalize(others)).abs()
        largest = max(largest, float(difference.max()))
        if (mean := float(difference.mean(dim=(2, 3)).max())) > TOLERANCE:
            raise AssertionError(f'one crop at a time gives other maps: mean difference {mean:.5f}')
    return largest


def build_hooks(cfg: Config, path: str) -> list[InferenceHook]:
    """Builds the inference hooks of a config.

    Raises:
        UserError: If the outermost hook is none of the three.
    """
    built = [INFERENCE_HOOKS.build(hook) for hook in cfg.model.inference_hooks]
    if not built or not isinstance(built[0], OURS):
        raise UserError(f'{path}: its outermost inference hook must be one of {", ".join(c.__name__ for c in OURS)}')
    return built


def load_reference() -> Callable[..., Tensor]:
    """Returns ``one_crop_at_a_time`` of the tests.

    Raises:
        UserError: Without a checkout, which has them.
    """
    path = Path(__file__).parents[2] / 'tests/inference/infer_cam_reference.py'
    if not path.is_file():
        raise UserError(f'{path}: no such file; run the benchmark in a checkout, or with --without-slow')
    return runpy.run_path(str(path))['one_crop_at_a_time']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a CAM config whose outermost inference hook is one of the three')
    parser.add_argument('checkpoint')
    parser.add_argument('--data-root', required=True)
    parser.add_argument('--split', default='train')
    parser.add_argument('--plain', help="config whose inference hooks are the plain way; default: the config's hooks "
                                        'without the outermost')
    parser.add_argument('--num-images', type=int, default=24, help='about so many images of each number of classes')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=1, help='every way is timed so often; the fastest counts')
    parser.add_argument('--without-slow', action='store_true', help='leave out one crop at a time')
    parser.add_argument('--amp', choices=['bfloat16', 'float16'], help='autocast the forward passes to this type')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE')
    parser.add_argument('--out', help='json file for the figures')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if min(args.num_images, args.batch_size, args.rounds) < 1:
        raise UserError('--num-images, --batch-size and --rounds must be at least 1')
    cfg = load_config(args.config, args.data_root, args.cfg_options)
    init_default_scope(cfg.default_scope)
    keep_freed_memory()
    hooks = build_hooks(cfg, args.config)
    plain = load_config(args.plain, args.data_root).model.inference_hooks if args.plain else hooks[1:]
    cfg.test_dataloader.dataset.split = args.split
    cfg.test_dataloader.dataset.pop('require_masks', None)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = to_channels_last(MODELS.build(cfg.model).eval())
    load_for_inference(model, args.checkpoint, dataset.metainfo['classes'])
    if cfg.test_cfg.get('fuse_conv_bn'):
        fuse_conv_bn(model)

    one_crop_at_a_time = None if args.without_slow else load_reference()

    def one_at_a_time(function: CAMFunction, images: Tensor, labels: Tensor) -> Tensor:
        inner = compose(function, hooks[1:])
        return torch.stack([one_crop_at_a_time(hooks[0], inner, *pair) for pair in zip(images, labels)])

    ways = {'plain': lambda function, images, labels: compose(function, plain)(images, labels).cam,
            'ours': lambda function, images, labels: compose(function, hooks)(images, labels).cam,
            'one crop at a time': one_at_a_time}
    if args.without_slow:
        del ways['one crop at a time']
    results = {}
    table = Table(title=f'{args.batch_size} images a batch, {torch.get_num_threads()} threads')
    for column in ('images', 'way', 's / image', 'Mpixel / image', 'time', 'pixels', 'time / pixels'):
        table.add_column(column, justify='left' if column in ('images', 'way') else 'right')
    for name, batches in load_batches(dataset, model, args.num_images, args.batch_size).items():
        figures = measure(ways, model, batches, args.rounds, args.amp)
        count = sum(len(images) for images, _ in batches)
        if not args.without_slow:
            maps = figures['ours']['maps'], figures['one crop at a time']['maps']
            figures['ours']['largest_difference'] = assert_equal(*maps)
        for way, figure in figures.items():
            del figure['maps']
            figure['time_ratio'] = figure['seconds'] / figures['plain']['seconds']
            figure['pixel_ratio'] = figure['pixels'] / figures['plain']['pixels']
            table.add_row(f'{count}, {name}', way, f"{figure['seconds'] / count:.3f}",
                          f"{figure['pixels'] / count / 1e6:.2f}", f"{figure['time_ratio']:.2f} x",
                          f"{figure['pixel_ratio']:.2f} x", f"{figure['time_ratio'] / figure['pixel_ratio']:.2f}")
        results[name] = dict(num_images=count, figures=figures)
    console = Console()
    console.print(table)
    if not args.without_slow:
        largest = max(result['figures']['ours']['largest_difference'] for result in results.values())
        console.print(f'one crop at a time gives the same maps; largest difference {largest:.5f}', highlight=False)
    console.print(f'time / pixels of ours: the target is at most {TARGET}', highlight=False)
    if args.out:
        write_json(args.out, dict(threads=torch.get_num_threads(), results=results))
    return 0


if __name__ == '__main__':
    run_cli(main)
