"""Dense CRF: this package's backends against pydensecrf, on photographs with masks.

The scores of an image are like CAMs of the classes present: their masks, blurred at stride 16 and uneven. Each way runs
one CRF, and two with a high and a low background, as labels of confident pixels are made. 'pydensecrf x 2' builds its
lattices for every CRF, as AffinityNet's and IRNet's code does; the others build them once for an image.

On one core the ways run in turns on every image, in one thread, and its CPU time counts. Then, for each way, two
processes share the images, as the package's tools work, and the time that passes counts. Peak memory is what the
process grows by on the first image. Without pydensecrf the differences are those to the first way.

    python tools/benchmark/dense_crf.py --data-root VOC2012 --split train
    python tools/benchmark/dense_crf.py --data-root data --num-images 8 --torch-images 2 --processes 1
"""
import argparse
import functools
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from random_walk import peak_memory

from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets import load_classes, read_split
from mmwsss.evaluation.label_metrics import confusion_matrix, load_mask, scores_from_confusion
from mmwsss.postprocessing import CRF_PRESETS, ImageCRF
from mmwsss.postprocessing.crf_backends import MODULES, choose_backend, import_error
from mmwsss.structures.image_file import read_image
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json

RELEASED = 'pydensecrf x 2'
TARGET_ONE, TARGET_TWO, TARGET_MB, TARGET_LABELS = 1, 1.6, 300, 1e-3
# The background of the one CRF, then of the two.
BACKGROUNDS = {'label': (0.25, 0.35, 0.15), 'softmax': (4, 4, 24)}
Way = Callable[[np.ndarray, Sequence[np.ndarray]], list[np.ndarray]]


class Images:
    """Photographs with masks; item i is (image, mask, class ids, maps like CAMs in [0, 1])."""

    def __init__(self, data_root: str, split: str, num_images: int) -> None:
        self.root = Path(data_root)
        self.classes = load_classes(data_root)
        stems = read_split(data_root, split)
        spread = np.linspace(0, len(stems) - 1, min(num_images, len(stems))).round().astype(int)
        self.stems = [stems[i] for i in spread]

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray]:
        stem = self.stems[index]
        image = read_image(self.root / 'JPEGImages' / f'{stem}.jpg')
        mask = load_mask(self.root / 'SegmentationClass' / f'{stem}.png', image.shape[:2], len(self.classes))
        present = [k for k in range(len(self.classes)) if (mask == k + 1).any()]
        return image, mask, present, cam_like(mask, present, np.random.default_rng(index))


def cam_like(mask: np.ndarray, classes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Maps [K, H, W] in [0, 1] that know roughly where the classes are: blurred at stride 16, and uneven."""
    height, width = mask.shape
    coarse = -(-width // 16), -(-height // 16)
    maps = np.empty((len(classes), height, width), np.float32)
    for row, k in enumerate(classes):
        cam = cv2.GaussianBlur(cv2.resize((mask == k + 1).astype(np.float32), coarse, interpolation=cv2.INTER_AREA),
                               (0, 0), 1.2)
        cam *= 0.6 + 0.8 * cv2.GaussianBlur(rng.random(cam.shape, np.float32), (0, 0), 1.5)
        maps[row] = cv2.resize(cam / max(cam.max(), 1e-6), (width, height)).clip(0, 1)
    return maps


def with_background(maps: np.ndarray, unary: str, value: float) -> np.ndarray:
    """Scores [K + 1, H, W]: a constant background for 'label', ``(1 - max)^value`` for 'softmax'."""
    background = (1 - maps.max(axis=0, initial=0)) ** value if unary == 'softmax' else np.full(maps.shape[1:], value)
    return np.concatenate([background[None], maps]).astype(np.float32)


def make_way(backend: str, unary: str, shared: bool = True) -> Way:
    """Returns what runs CRFs on one image; with ``shared`` lattices, or with new ones for each CRF."""
    preset = dict(CRF_PRESETS[unary])
    inference = {key: preset.pop(key) for key in ('unary', 'gt_prob', 'iterations') if key in preset}

    def run(image: np.ndarray, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        crf = ImageCRF(image, backend=backend, **preset)
        results = []
        for number, one in enumerate(scores):
            if number and not shared:
                crf = ImageCRF(image, backend=backend, **preset)
            results.append(crf(one, **inference))
        return results

    return run


def measure_one_core(images: Images, ways: dict[str, Way], unary: str, limits: dict[str, int]) -> dict[str, dict]:
    """Times the ways in turns, and compares their results with those of the first.

    Returns:
        By way: ``images``, how many; ``one`` and ``two``, CPU seconds an image; ``peak_mb``; over its images
        ``largest`` and ``mean`` difference of the marginals and share of ``other_labels`` (the first way has none),
        ``mIoU``, and ``reference``, that of the first way on the same images; and ``seconds``, those of each image.
    """
    num_classes = len(images.classes)
    figures = {name: dict(one=[], two=[], largest=0.0, sum=0.0, values=0, other=0, pixels=0) for name in ways}
    confusion = {name: np.zeros((2, num_classes + 1, num_classes + 2), np.int64) for name in ways}
    first = next(iter(ways))
    for index in range(len(images)):
        image, mask, present, maps = images[index]
        one, *two = (with_background(maps, unary, value) for value in BACKGROUNDS[unary])
        ids = np.array([0, *(k + 1 for k in present)], np.uint8)
        reference = None
        for name, way in ways.items():
            if index >= limits.get(name, len(images)):
                continue
            figure = figures[name]
            if index == 0:
                # Loops are compiled, or read from numba's cache, before anything is measured.
                for labels in (2, 3, 5):
                    way(image[:8, :8], [np.ones((labels, 8, 8), np.float32)])
                figure['peak_mb'] = peak_memory(functools.partial(way, image, two), 'cpu')
            start = time.process_time()
            result, = way(image, [one])
            middle = time.process_time()
            way(image, two)
            figure['one'].append(middle - start)
            figure['two'].append(time.process_time() - middle)
            label = ids[result.argmax(axis=0)]
            if reference is None:
                reference, reference_label = result, label
            difference = np.abs(result - reference)
            figure['largest'] = max(figure['largest'], float(difference.max()))
            figure['sum'] += float(difference.sum(dtype=np.float64))
            figure['values'] += difference.size
            figure['other'] += int((label != reference_label).sum())
            figure['pixels'] += label.size
            confusion[name] += [confusion_matrix(label, mask, num_classes),
                                confusion_matrix(reference_label, mask, num_classes)]
    report = {}
    for name, figure in figures.items():
        own, others = (float(np.nanmean(scores_from_confusion(matrix)['iou'])) for matrix in confusion[name])
        report[name] = dict(
            images=len(figure['one']), one=float(np.mean(figure['one'])), two=float(np.mean(figure['two'])),
            peak_mb=figure['peak_mb'], largest=figure['largest'], mean=figure['sum'] / figure['values'],
            other_labels=figure['other'] / figure['pixels'], mIoU=own, reference=others,
            seconds=dict(one=figure['one'], two=figure['two']))
    for figure in report.values():
        # Over the images of the slower of both.
        for number in ('one', 'two'):
            base = report[first]['seconds'][number][:figure['images']]
            figure[f'{number}_ratio'] = float(np.mean(base)) / figure[number]
    return report


def _share(arguments: tuple) -> None:
    """What one of several processes does: every so manieth image."""
    images, backend, shared, unary, start, step, end, crfs = arguments
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    way = make_way(backend, unary, shared)
    for index in range(start, end, step):
        image, _, _, maps = images[index]
        values = BACKGROUNDS[unary][:1] if crfs == 1 else BACKGROUNDS[unary][1:]
        way(image, [with_background(maps, unary, value) for value in values])


def measure_processes(images: Images, kinds: dict[str, tuple[str, bool]], unary: str, processes: int,
                      limits: dict[str, int]) -> dict[str, dict[str, float]]:
    """Returns, by way, the seconds an image that pass when processes share the images, reading them included."""
    seconds = {}
    # Started anew, not forked: the threads of this process would not be in a fork.
    with multiprocessing.get_context('spawn').Pool(processes) as pool:
        for name, (backend, shared) in kinds.items():
            end = limits.get(name, len(images))

            def work(crfs: int, end: int, backend: str = backend, shared: bool = shared) -> float:
                start = time.perf_counter()
                pool.map(_share, [(images, backend, shared, unary, rank, processes, end, crfs)
                                  for rank in range(processes)], chunksize=1)
                return time.perf_counter() - start

            work(1, min(end, 2 * processes))  # loads compiled loops
            seconds[name] = dict(one=work(1, end) / end, two=work(2, end) / end)
    return seconds


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', required=True, help='data set in VOC layout with masks')
    parser.add_argument('--split', default='train')
    parser.add_argument('--num-images', type=int, default=100, help='spread evenly over the split')
    parser.add_argument('--torch-images', type=int, default=20, help='the torch backend runs on so many of them')
    parser.add_argument('--unary', choices=sorted(CRF_PRESETS), default='label', help='whose parameters')
    parser.add_argument('--processes', type=int, default=2, help='so many share the images; 1 leaves that out')
    parser.add_argument('--out', help='json file for the figures')
    args = parser.parse_args(argv)
    if min(args.num_images, args.torch_images, args.processes) < 1:
        raise UserError('--num-images, --torch-images and --processes must be at least 1')
    return args


def show(console: Console, report: dict[str, dict], processes: int) -> None:
    table = Table(title='dense CRF, one core, CPU time')
    for column in ('way', 'images', 'one CRF, ms', 'ratio', 'two, ms', 'ratio', 'peak MB', 'largest diff', 'mean diff',
                   'other labels', 'mIoU', "1st way's"):
        table.add_column(column, justify='left' if column == 'way' else 'right')
    for name, figure in report.items():
        table.add_row(
            name, str(figure['images']), f"{1e3 * figure['one']:,.0f}", f"{figure['one_ratio']:.2f} x",
            f"{1e3 * figure['two']:,.0f}", f"{figure['two_ratio']:.2f} x",
            '-' if figure['peak_mb'] is None else f"{figure['peak_mb']:,.0f}", f"{figure['largest']:.1e}",
            f"{figure['mean']:.1e}", f"{figure['other_labels']:.4%}", f"{100 * figure['mIoU']:.2f}",
            f"{100 * figure['reference']:.2f}")
    console.print(table)
    if processes > 1:
        table = Table(title=f'{processes} processes, time that passes')
        for column in ('way', 'one CRF, ms an image', 'two, ms an image'):
            table.add_column(column, justify='left' if column == 'way' else 'right')
        for name, figure in report.items():
            table.add_row(name, *(f"{1e3 * figure['processes'][crfs]:,.0f}" for crfs in ('one', 'two')))
        console.print(table)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    images = Images(args.data_root, args.split, args.num_images)
    kinds = {name: (name, True) for name in MODULES if not import_error(name)}
    if 'pydensecrf' in kinds:
        kinds = {RELEASED: ('pydensecrf', False), **kinds}
    limits = {'torch': min(args.torch_images, len(images))}
    console = Console(width=140)
    report = measure_one_core(images, {name: make_way(backend, args.unary, shared)
                                       for name, (backend, shared) in kinds.items()}, args.unary, limits)
    if args.processes > 1:
        for name, seconds in measure_processes(images, kinds, args.unary, args.processes, limits).items():
            report[name]['processes'] = seconds
    show(console, report, args.processes)
    chosen = choose_backend()
    figure = report[chosen]
    if RELEASED in report:
        console.print(f"'auto' is {chosen} here. Targets: one CRF {figure['one_ratio']:.2f} x ({TARGET_ONE} x), two "
                      f"{figure['two_ratio']:.2f} x ({TARGET_TWO} x), other labels {figure['other_labels']:.4%} "
                      f"({TARGET_LABELS:.1%})", highlight=False)
    if figure['peak_mb'] is not None:
        console.print(f"{figure['peak_mb']:,.0f} MB (target: {TARGET_MB} MB)", highlight=False)
    if args.out:
        write_json(args.out, dict(images=len(images), unary=args.unary, processes=args.processes, auto=chosen,
                                  ways=report))
    return 0


if __name__ == '__main__':
    run_cli(main)
