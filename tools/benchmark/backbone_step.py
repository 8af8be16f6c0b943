"""EfficientNet-Lite with constant BatchNorm: convolution and norm in one pass against one after the other.

Both take the same random pictures, in turns, with the same weights; medians count. The outputs and gradients of both
are compared before.

    python tools/benchmark/backbone_step.py --batch-size 16 --size 224
"""
import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmwsss.cli.run_cli import run_cli
from mmwsss.engine.memory_format import to_channels_last
from mmwsss.models import EfficientNetLite
from mmwsss.models.backbones import efficientnet_lite
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json
from mmwsss.utils.memory import keep_freed_memory


def obvious(conv: torch.nn.Conv2d, norm: torch.nn.Module, x: Tensor) -> Tensor:
    """Convolution and norm one after the other, as a network does by default."""
    return norm(conv(x))


def forward(model: EfficientNetLite, images: Tensor) -> Tensor:
    """A forward pass without gradients."""
    with torch.no_grad():
        return model(images)[-1]


def step(model: EfficientNetLite, images: Tensor) -> Tensor:
    """Forward and backward pass of a training; the gradients are in the parameters."""
    model.zero_grad()
    features = model(images)[-1]
    features.square().mean().backward()
    return features.detach()


def measure(model: EfficientNetLite, images: Tensor, rounds: int) -> dict[str, dict[str, float]]:
    """Times both passes both ways, in turns."""
    figures = {}
    for name, function in (('forward', forward), ('forward and backward', step)):
        ways: dict[str, Callable] = dict(obvious=obvious, ours=efficientnet_lite.conv_norm)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        results = {}
        for turn in range(rounds + 1):  # the first does not count
            for way, conv_norm in ways.items():
                with mock.patch.object(efficientnet_lite, 'conv_norm', conv_norm):
                    start = time.perf_counter()
                    found = function(model, images)
                    if turn:
                        seconds[way].append(time.perf_counter() - start)
                gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
                results[way] = [found, *gradients]
        for one, other in zip(*results.values(), strict=True):
            # Rounding flips a relu6 here and there; in float64 both are the same: tests/models/utils/test_conv_norm.py.
            if (difference := (one - other).norm() / other.norm()) > 0.02:
                raise UserError(f'{name}: the results of both ways differ by {difference:.2%}')
        figures[name] = {way: statistics.median(times) for way, times in seconds.items()}
    return figures


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--size', type=int, default=224, help='width and height of the pictures')
    parser.add_argument('--rounds', type=int, default=5, help='every way is timed so often')
    parser.add_argument('--out', help='json file for the figures')
    args = parser.parse_args(argv)
    if min(args.batch_size, args.size, args.rounds) < 1:
        raise UserError('--batch-size, --size and --rounds must be at least 1')
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    keep_freed_memory()
    torch.manual_seed(0)
    model = EfficientNetLite(output_stride=16, frozen_stages=1, norm_eval=True, norm_frozen=True)
    model.init_weights()
    model = to_channels_last(model.train())
    images = torch.randn(args.batch_size, 3, args.size, args.size).contiguous(memory_format=torch.channels_last)
    figures = measure(model, images, args.rounds)
    table = Table(title=f'EfficientNet-Lite0, {args.batch_size} pictures of {args.size} x {args.size}, '
                        f'{torch.get_num_threads()} threads')
    for column in ('pass', 'obvious, ms', 'ours, ms', 'ratio'):
        table.add_column(column, justify='left' if column == 'pass' else 'right')
    for name, seconds in figures.items():
        table.add_row(name, *(f'{1e3 * seconds[way]:,.0f}' for way in ('obvious', 'ours')),
                      f'{seconds["obvious"] / seconds["ours"]:.2f} x')
    Console().print(table)
    if args.out:
        write_json(args.out, dict(batch_size=args.batch_size, size=args.size, threads=torch.get_num_threads(),
                                  seconds=figures))
    return 0


if __name__ == '__main__':
    run_cli(main)
