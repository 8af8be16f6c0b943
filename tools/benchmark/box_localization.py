"""Boxes of all thresholds in one pass against searches for contours: python tools/benchmark/box_localization.py.

Both compute, for maps of 224 x 224 pixels, at which thresholds the largest component (MaxBoxAcc) and any component
(MaxBoxAccV2) reach the IoUs 0.3, 0.5 and 0.7, in the same run on one thread, and must agree. The loop is what the
evaluation code of published work does: threshold, cv2.findContours, contourArea and boundingRect. A careful loop
searches once for each of the at most 256 different foregrounds of a map.
"""
import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mmwsss.cli.run_cli import run_cli
from mmwsss.evaluation.box_localization import BENCHMARK_SIZE, DEFAULT_IOUS, benchmark_hits, min_max
from mmwsss.structures import read_cam
from mmwsss.structures.maps import resize_cam
from mmwsss.utils.memory import keep_freed_memory

TARGET = 30  # times the loop, at 1,000 thresholds
GT_BOXES = np.array([[40, 30, 150, 160], [90, 100, 200, 210]])


def smooth_maps(count: int, grid: int, seed: int = 0) -> list[np.ndarray]:
    """Returns maps as from a network whose features have ``grid`` x ``grid`` positions, around one object."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:grid, :grid] / grid
    maps = []
    for _ in range(count):
        cy, cx, width = rng.uniform(.3, .7, 3)
        cam = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (.5 * width) ** 2) + .15 * rng.random((grid, grid))
        maps.append(min_max(resize_cam(cam[None].astype(np.float32), (BENCHMARK_SIZE, BENCHMARK_SIZE))[0]))
    return maps


def file_maps(folder: str, count: int) -> list[np.ndarray]:
    """Returns the first map of the CAM files of a folder."""
    maps = []
    for path in sorted(Path(folder).glob('*.npz'))[:count]:
        cam = read_cam(path).cam[:1].astype(np.float32)
        if len(cam):
            maps.append(min_max(resize_cam(cam, (BENCHMARK_SIZE, BENCHMARK_SIZE))[0]))
    return maps


def inclusive_iou(box: tuple[int, int, int, int]) -> float:
    """Returns the best IoU of (x0, y0, x1, y1), x1 and y1 excluded and cut to the map, with the ground truth."""
    x0, y0, x1, y1 = box[0], box[1], min(box[2], BENCHMARK_SIZE - 1), min(box[3], BENCHMARK_SIZE - 1)
    best = 0.
    for a0, b0, a1, b1 in GT_BOXES.tolist():
        inside = max(0, min(x1, a1) - max(x0, a0) + 1) * max(0, min(y1, b1) - max(y0, b0) + 1)
        total = (x1 - x0 + 1) * (y1 - y0 + 1) + (a1 - a0 + 1) * (b1 - b0 + 1) - inside
        best = max(best, inside / total)
    return best


def search(mask: np.ndarray) -> tuple[float, float]:
    """Returns the IoU of the largest component and the best IoU of any, by a search for contours."""
    contours, relations = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [c for c, relation in zip(contours, relations[0] if len(contours) else ()) if relation[3] < 0]
    if not outer:
        return (inclusive_iou((0, 0, 0, 0)),) * 2
    boxes = [cv2.boundingRect(c) for c in outer]
    boxes = [(x, y, x + width, y + height) for x, y, width, height in boxes]
    # Of equal areas the upper one, as ours; OpenCV's order differs between versions.
    largest = max(range(len(outer)), key=lambda i: (cv2.contourArea(outer[i]), -boxes[i][1], -boxes[i][0]))
    return inclusive_iou(boxes[largest]), max(map(inclusive_iou, boxes))


def loop(cam: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Searches at every threshold; bool [2, I, T]."""
    values = (cam * 255).astype(np.uint8)
    found = [search(cv2.threshold(values, int(t * values.max()), 255, cv2.THRESH_BINARY)[1]) for t in thresholds]
    return np.array(found).T[:, None] >= np.array(DEFAULT_IOUS)[:, None]


def careful_loop(cam: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Searches once for every different foreground; bool [2, I, T]."""
    values = (cam * 255).astype(np.uint8)
    limits = [int(t * values.max()) for t in thresholds]
    found = {limit: search(cv2.threshold(values, limit, 255, cv2.THRESH_BINARY)[1]) for limit in dict.fromkeys(limits)}
    return np.array([found[limit] for limit in limits]).T[:, None] >= np.array(DEFAULT_IOUS)[:, None]


def ours(cam: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns the same in one pass."""
    return benchmark_hits(cam, GT_BOXES, thresholds)


def measure(maps: list[np.ndarray], thresholds: np.ndarray, rounds: int) -> dict[str, float]:
    """Times the three on the same maps.

    Returns:
        Milliseconds a map, of the fastest round: ``ours``, ``loop``, ``careful``.

    Raises:
        AssertionError: If they differ.
    """
    ways: dict[str, tuple[Callable, int]] = dict(ours=(ours, 5), loop=(loop, 1), careful=(careful_loop, 2))
    seconds, results = dict.fromkeys(ways, float('inf')), {}
    for _ in range(rounds):
        # In turn, so that a busy moment of the machine does not fall on one of them alone.
        for name, (way, repeats) in ways.items():
            for _ in range(repeats):
                start = time.perf_counter()
                results[name] = [way(cam, thresholds) for cam in maps]
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    for name in ('loop', 'careful'):
        np.testing.assert_array_equal(results['ours'], results[name])
    return {name: 1e3 * shortest / len(maps) for name, shortest in seconds.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Time boxes of all thresholds against searches for contours')
    parser.add_argument('--thresholds', type=int, default=1000)
    parser.add_argument('--maps', type=int, default=3)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--cams', help='folder of CAM files, to be timed as well')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()
    thresholds = np.arange(args.thresholds) / args.thresholds
    kinds = {f'grid of {grid} x {grid}': smooth_maps(args.maps, grid) for grid in (7, 14, 28)}
    if args.cams:
        kinds['CAM files'] = file_maps(args.cams, args.maps)
    table = Table(title=f'{args.thresholds} thresholds, ms a map, 1 thread; all results equal')
    for column in ('maps', 'ours', 'loop', 'ratio', 'careful loop', 'ratio'):
        table.add_column(column, justify='right')
    lowest = float('inf')
    for kind, maps in kinds.items():
        ms = measure(maps, thresholds, args.rounds)
        lowest = min(lowest, ms['loop'] / ms['ours'])
        table.add_row(kind, f'{ms["ours"]:.1f}', f'{ms["loop"]:.0f}', f'{ms["loop"] / ms["ours"]:.0f} x',
                      f'{ms["careful"]:.0f}', f'{ms["careful"] / ms["ours"]:.1f} x')
    console = Console()
    console.print(table)
    console.print(f'lowest ratio to the loop: {lowest:.0f} x (target at 1,000 thresholds: {TARGET} x)', highlight=False)
    return 0


if __name__ == '__main__':
    run_cli(main)
