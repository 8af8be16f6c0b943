"""The random walk by planes of weights against squaring the n x n matrix, as AffinityNet's and IRNet's code does.

Both start from the same affinities (IRNet's, of generated edges) and maps in float32, and end with the maps after 2^8
steps. They run in turns; the fastest round counts. The results of both must agree, otherwise the tool fails. Peak
memory is what the process grows by (on a GPU: what tensors take), without the affinities and maps given to it.

    python tools/benchmark/random_walk.py
    python tools/benchmark/random_walk.py --sizes 63x47 --rounds 1
"""
import argparse
import re
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmwsss.cli.run_cli import run_cli
from mmwsss.models.affinity.pixel_pairs import edge_affinity, half_disc_offsets, pair_windows
from mmwsss.models.affinity.random_walk import RandomWalk
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json
from mmwsss.utils.memory import release_memory, sparing_memory

TARGET, TARGET_PIXELS = 50, 5120  # ours, exact, is to be so many times faster at so many pixels
TOLERANCE = 1e-3  # of a map's maximum; squaring in float32 is itself wrong by up to 2e-4
RADIUS, BETA = 5, 10
# 375 x 500 and 1,024 x 1,024 pixels at stride 4 come last.
SIZES = ('63x47', '80x64', '94x125', '256x256')
DENSE, EXACT, CHEBYSHEV = 'dense', 'exact', 'Chebyshev'
Way = Callable[[Tensor, Tensor], Tensor]


def make_inputs(size: tuple[int, int], num_maps: int, device: str = 'cpu', seed: int = 0) -> tuple[Tensor, Tensor]:
    """Generates the affinities 1 x P x h x w of smooth edges with strong and weak parts, and maps 1 x K x h x w."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, *(max(2, n // 6) for n in size), generator=generator)
    edge = torch.sigmoid(12 * (F.interpolate(coarse, size, mode='bicubic') - 0.6))
    maps = torch.rand(1, num_maps, *(max(2, n // 4) for n in size), generator=generator) ** 2
    maps = F.interpolate(maps, size, mode='bilinear')
    return edge_affinity(edge.to(device), half_disc_offsets(RADIUS)), maps.to(device)


@torch.no_grad()
def dense_walk(affinity: Tensor, maps: Tensor, squarings: int) -> Tensor:
    """The walk by squaring the dense transition matrix, in float32, of one image."""
    height, width = maps.shape[-2:]
    matrix = torch.eye(height * width, device=maps.device)
    numbers = torch.arange(height * width, device=maps.device).view(height, width)
    for plane, offset in zip(affinity[0], half_disc_offsets(RADIUS)):
        first, second = pair_windows((height, width), offset)
        i, j = numbers[first].flatten(), numbers[second].flatten()
        matrix[i, j] = matrix[j, i] = plane[first].flatten()
    matrix = matrix.pow_(BETA)
    matrix /= matrix.sum(dim=0, keepdim=True)
    for _ in range(squarings):
        matrix = matrix @ matrix
    return (maps.flatten(2) @ matrix).view(maps.shape)


def peak_memory(function: Callable[[], Tensor], device: str) -> float | None:
    """Runs a function and returns the megabytes it needed at most; ``None`` where the system does not tell."""
    if device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
    if not sys.platform.startswith('linux'):
        return None
    # What was freed and kept for later, or is freed while the function runs, would hide what is needed.
    with sparing_memory():
        release_memory()
        try:
            with open('/proc/self/clear_refs', 'w') as file:
                file.write('5')  # the peak starts anew
        except OSError:
            return None
        before = _status('VmRSS')
        function()
        return (_status('VmHWM') - before) / 2 ** 10


def _status(name: str) -> int:
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f'{name}:'))


def largest_difference(result: Tensor, reference: Tensor) -> float:
    """Returns the largest difference of two results, in units of the maximum of the reference's map."""
    difference = (result - reference).abs() / reference.amax(dim=(2, 3), keepdim=True)
    return float(difference.max())


def measure(ways: dict[str, Way], affinity: Tensor, maps: Tensor, rounds: int) -> dict[str, dict]:
    """Times the ways on one image.

    Returns:
        By way: ``seconds`` of the fastest round, ``peak_mb``, and ``difference``, the largest to the first way.

    Raises:
        AssertionError: If a result differs from the one of the first way.
    """
    device = str(maps.device)
    figures: dict[str, dict] = {}
    reference = None
    for name, way in ways.items():
        results = []
        # A first run of its own for the memory; it also loads what the first run has to.
        peak = peak_memory(lambda way=way, results=results: results.append(way(affinity, maps)), device)
        reference = results[0] if reference is None else reference
        difference = largest_difference(results[0], reference)
        if not difference <= TOLERANCE:
            raise AssertionError(f'{name} gives another result: {difference:.1e} of a map\'s maximum')
        figures[name] = dict(seconds=float('inf'), peak_mb=peak, difference=difference)
    for _ in range(rounds):
        # In turn, so that a busy moment of the machine does not fall on one of them alone.
        for name, way in ways.items():
            synchronize(device)
            start = time.perf_counter()
            way(affinity, maps)
            synchronize(device)
            figures[name]['seconds'] = min(figures[name]['seconds'], time.perf_counter() - start)
    return figures


def synchronize(device: str) -> None:
    if device.startswith('cuda'):
        torch.cuda.synchronize()


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sizes', nargs='+', default=SIZES, help='grids, as HEIGHTxWIDTH')
    parser.add_argument('--max-dense', type=int, default=6000, help='the dense way is left out above so many pixels')
    parser.add_argument('--maps', type=int, default=3, help='maps an image: background and two classes')
    parser.add_argument('--squarings', type=int, default=8, help='2 to this power are the steps')
    parser.add_argument('--tolerance', type=float, default=1e-4, help='of the Chebyshev walk')
    parser.add_argument('--rounds', type=int, default=3, help='every way is timed so often; the fastest counts')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', help='json file for the figures')
    args = parser.parse_args(argv)
    if min(args.rounds, args.maps) < 1 or args.squarings < 0:
        raise UserError('--rounds and --maps must be at least 1, --squarings at least 0')
    if not 0 <= args.tolerance < 1:
        raise UserError('--tolerance must be at least 0 and below 1')
    if wrong := [size for size in args.sizes if not re.fullmatch(r'[1-9]\d*x[1-9]\d*', size)]:
        raise UserError(f'--sizes must be HEIGHTxWIDTH, such as 63x47, got {wrong[0]}')
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'--device {args.device}: there is no such device here; leave it out to measure on the CPU')
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    options = dict(beta=BETA, steps=2 ** args.squarings, radius=RADIUS)
    ours = {EXACT: RandomWalk(**options),
            CHEBYSHEV: RandomWalk(**options, method='chebyshev', tolerance=args.tolerance)}
    place = torch.cuda.get_device_name() if args.device.startswith('cuda') else f'{torch.get_num_threads()} threads'
    table = Table(title=f'random walk: {2 ** args.squarings} steps, {args.maps} maps, {place}')
    for column in ('grid', 'n', 'way', 'ms', 'ratio', 'peak MB', 'ratio', 'difference'):
        table.add_column(column, justify='left' if column == 'way' else 'right')
    report, ratios = [], []
    for size in args.sizes:
        height, width = map(int, size.split('x'))
        pixels = height * width
        ways = dict(ours)
        if pixels <= args.max_dense:
            ways = {DENSE: lambda affinity, maps: dense_walk(affinity, maps, args.squarings), **ours}
        figures = measure(ways, *make_inputs((height, width), args.maps, args.device), args.rounds)
        first = next(iter(figures.values()))
        for name, figure in figures.items():
            figure['ratio'] = first['seconds'] / figure['seconds']
            # Less than a page of memory is not seen.
            figure['memory_ratio'] = first['peak_mb'] / figure['peak_mb'] if figure['peak_mb'] else None
            table.add_row(size, f'{pixels:,}', name, f"{1e3 * figure['seconds']:,.1f}", f"{figure['ratio']:.1f} x",
                          '-' if figure['peak_mb'] is None else f"{figure['peak_mb']:,.1f}",
                          f"{figure['memory_ratio']:.0f} x" if figure['memory_ratio'] else '-',
                          f"{figure['difference']:.1e}")
        table.add_section()
        if DENSE in ways and pixels >= TARGET_PIXELS:
            ratios.append(figures[EXACT]['ratio'])
        report.append(dict(size=[height, width], pixels=pixels, figures=figures))
    console = Console()
    console.print(table)
    console.print('ratios and differences are to the first way of a grid; differences in units of a map\'s maximum',
                  highlight=False)
    if ratios:
        console.print(f'exact, from n = {TARGET_PIXELS:,} on: at least {min(ratios):.0f} x (target: {TARGET} x)',
                      highlight=False)
    if args.out:
        write_json(args.out, dict(threads=torch.get_num_threads(), device=args.device, steps=2 ** args.squarings,
                                  maps=args.maps, rounds=args.rounds, tolerance=args.tolerance, sizes=report))
    return 0


if __name__ == '__main__':
    run_cli(main)
