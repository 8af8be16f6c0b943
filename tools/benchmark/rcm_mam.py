"""A training step of RCM and MAM against one of its baseline, and what it is made of.

All variants of a config take the same random pictures, in turns; medians count. Weights are random and nothing is
loaded, so no data is needed: the figures are of forward pass, losses, backward pass, optimizer and SupportNet's update.

    python tools/benchmark/rcm_mam.py configs/rcm_mam/rcm_mam_efflite0_small.py --batch-size 16 --classes 8
"""
import argparse
import copy
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from rich.console import Console
from rich.table import Table

from mmwsss.cli.run_cli import run_cli
from mmwsss.config.config import backbones_of, fill_num_classes, read_config
from mmwsss.engine.memory_format import to_channels_last
from mmwsss.registry import MODELS
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json

# What the models of the table change in the config's.
VARIANTS = {
    'baseline': dict(rcm=None, mam=None),
    'RCM': dict(mam=None),
    'RCM, weight sharing': dict(mam=None, support='shared'),
    'MAM': dict(rcm=None),
    'RCM + MAM': {},
}
UPDATE = "SupportNet's update"


class Watch:
    """Adds up the seconds that functions take.

    Args:
        device: The device whose work is waited for.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)

    def now(self) -> float:
        """Returns the time when all work so far is done."""
        if self.device.startswith('cuda'):
            torch.cuda.synchronize()
        return time.perf_counter()

    def wrap(self, owner: object, name: str, title: str) -> None:
        """Replaces a function of an object by one that is timed, as ``title``."""
        function: Callable = getattr(owner, name)

        def timed(*args, **kwargs):
            start = self.now()
            result = function(*args, **kwargs)
            self.seconds[title] += self.now() - start
            return result

        setattr(owner, name, timed)


class Step:
    """A training step of a model on one batch.

    Args:
        cfg: Config with ``model`` and ``optim_wrapper``.
        options: What a variant changes in the model.
        batch: What the data loader would give.
        device: Where to run.
    """

    def __init__(self, cfg: ConfigDict, options: dict, batch: dict, device: str) -> None:
        torch.manual_seed(0)
        self.model = to_channels_last(MODELS.build({**copy.deepcopy(cfg.model), **options}).to(device)).train()
        self.optimizer = build_optim_wrapper(self.model, copy.deepcopy(cfg.optim_wrapper))
        self.batch = batch
        self.watch = watch = Watch(device)
        self.seconds: list[float] = []
        self.parts: dict[str, list[float]] = defaultdict(list)
        watch.wrap(self.model.main_net, 'forward_maps', 'MainNet, forward')
        if self.model.support_net is not None:
            watch.wrap(self.model.support_net, 'forward_maps', 'SupportNet, forward')
        for name in ('rcm', 'mam'):
            if getattr(self.model, name) is not None:
                watch.wrap(getattr(self.model, name), 'forward', f'{name.upper()}, forward')
        watch.wrap(self.optimizer, 'backward', 'backward')
        watch.wrap(self.optimizer, 'step', 'optimizer')
        watch.wrap(self.model, 'update_support_net', UPDATE)

    def __call__(self) -> None:
        """Makes a step and keeps its times."""
        self.watch.seconds.clear()
        start = self.watch.now()
        losses = self.model.train_step(copy.deepcopy(self.batch), self.optimizer)
        self.model.update_support_net()
        total = self.watch.now() - start
        if not losses['loss'].isfinite():
            raise UserError(f'the loss is {losses["loss"].item()}: this is not a step of a training')
        self.seconds.append(total)
        for name, seconds in self.watch.seconds.items():
            self.parts[name].append(seconds)
        self.parts['the rest'].append(total - sum(self.watch.seconds.values()))

    def figures(self) -> dict:
        """Returns the medians over the steps."""
        return dict(seconds=statistics.median(self.seconds),
                    parts={name: statistics.median(seconds) for name, seconds in self.parts.items()})


def random_batch(num_images: int, num_classes: int, size: tuple[int, int]) -> dict:
    """Makes random pictures with one to three classes each."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(num_images):
        label = torch.zeros(num_classes)
        count = int(torch.randint(1, min(3, num_classes) + 1, (), generator=generator))
        label[torch.randperm(num_classes, generator=generator)[:count]] = 1
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        sample.gt_img_label = LabelData(label=label)
        samples.append(sample)
    images = torch.randint(0, 256, (num_images, 3, *size), generator=generator, dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def measure(cfg: ConfigDict, args: argparse.Namespace, size: tuple[int, int]) -> dict[str, dict]:
    """Times every variant; one step before the first round does not count."""
    batch = random_batch(args.batch_size, args.classes, size)
    steps = {name: Step(cfg, VARIANTS[name], batch, args.device) for name in args.variants}
    for step in steps.values():
        step()
        step.seconds.clear()
        step.parts.clear()
    for _ in range(args.rounds):
        for step in steps.values():
            step()
    return {name: step.figures() for name, step in steps.items()}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default='configs/rcm_mam/rcm_mam_efflite0_small.py')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=['baseline', 'RCM', 'MAM', 'RCM + MAM'])
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--classes', type=int, default=20)
    parser.add_argument('--rounds', type=int, default=3, help='every variant is timed so often')
    parser.add_argument('--stride', type=int, help="the model's stride, instead of the config's")
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', help='json file for the figures')
    args = parser.parse_args(argv)
    if min(args.batch_size, args.classes, args.rounds, args.stride or 1) < 1:
        raise UserError('--batch-size, --classes, --rounds and --stride must be at least 1')
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'--device {args.device}: there is no such device here; leave it out to measure on the CPU')
    return args


def result_table(figures: dict[str, dict], title: str) -> Table:
    """Shows the steps, and the share of their parts."""
    table = Table(title=title)
    for column in ('model', 'part', 'ms', 'share', 'ratio'):
        table.add_column(column, justify='left' if column in ('model', 'part') else 'right')
    first = next(iter(figures.values()))
    for name, figure in figures.items():
        figure['ratio'] = figure['seconds'] / first['seconds']
        table.add_row(name, 'step', f"{1e3 * figure['seconds']:,.0f}", '', f"{figure['ratio']:.2f} x")
        for part, seconds in figure['parts'].items():
            table.add_row('', part, f'{1e3 * seconds:,.0f}', f"{100 * seconds / figure['seconds']:.0f} %", '')
        table.add_section()
    return table


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    cfg = read_config(args.config)
    if cfg.model.get('type') != 'PixelSelfSupervision':
        raise UserError(f'{args.config}: the model is no PixelSelfSupervision; name a config of configs/rcm_mam')
    init_default_scope(cfg.default_scope)
    fill_num_classes(cfg.model, args.classes)
    for _, backbone in backbones_of(cfg.model):
        backbone['init_cfg'] = None
    if args.stride:
        cfg.model['stride'] = args.stride
    size = tuple(cfg.model.data_preprocessor.size)
    figures = measure(cfg, args, size)
    place = torch.cuda.get_device_name() if args.device.startswith('cuda') else f'{torch.get_num_threads()} threads'
    title = f'{args.batch_size} pictures of {size[1]} x {size[0]}, stride {cfg.model.get("stride", 1)}, {place}'
    Console().print(result_table(figures, title))
    if args.out:
        write_json(args.out, dict(config=args.config, batch_size=args.batch_size, size=size, device=args.device,
                                  stride=cfg.model.get('stride', 1), threads=torch.get_num_threads(),
                                  figures=figures))
    return 0


if __name__ == '__main__':
    run_cli(main)
