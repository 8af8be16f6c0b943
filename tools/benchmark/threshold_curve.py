"""The threshold curve in one pass against one pass per threshold: python tools/benchmark/threshold_curve.py.

Ours is compared, on the same generated CAMs in the same run on one thread, with

* the obvious loop: at every threshold a background map is put before the maps, the label map is their argmax, and
  a confusion matrix is counted (as the evaluation scripts of published WSSS code do it);
* the careful loop: maximum, argmax and valid pixels are found once an image; per threshold a comparison and a count.

The confusion counts of all three are asserted to be equal.
"""
import argparse
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mmwsss.cli.run_cli import run_cli
from mmwsss.evaluation.threshold_curve import CAMHistogram, cam_histogram, curve_from_histogram, label_from_cam
from mmwsss.structures import resize_cam

TARGET = 30  # times the obvious loop, at 60 thresholds
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def make_samples(count: int, size: tuple[int, int], num_classes: int, per_image: int, seed: int) -> list[Sample]:
    """Generates CAMs at image size with ground truth.

    Args:
        count: Number of images.
        size: (H, W).
        num_classes: C.
        per_image: K, classes an image.
        seed: Of the random numbers.

    Returns:
        For each image: maps float32 [K, H, W] (smooth, as from a grid of stride 16), classes int64 [K], ground truth
        uint8 [H, W], noisy along the borders, 5 % of it ignored.
    """
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        grid = [-(-n // 16) for n in size]
        cam = np.array(resize_cam(rng.random((per_image, *grid), dtype=np.float32) ** 2, size))
        classes = np.sort(rng.permutation(num_classes)[:per_image])
        noisy = cam + .1 * rng.standard_normal(cam.shape, dtype=np.float32)
        gt = label_from_cam(noisy, classes, .4)
        gt[rng.random(size) < .05] = 255
        samples.append((cam, classes, gt))
    return samples


def obvious_loop(samples: list[Sample], thresholds: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the confusion counts int64 [T, C + 1, C + 1], one argmax per image and threshold."""
    n = num_classes + 1
    total = np.zeros((len(thresholds), n, n), np.int64)
    for cam, classes, gt in samples:
        names = np.concatenate([[0], classes + 1])
        for i, threshold in enumerate(thresholds):
            background = np.full((1, *gt.shape), threshold, np.float32)
            pred = names[np.concatenate([background, cam]).argmax(axis=0)]
            valid = gt != 255
            total[i] += np.bincount(gt[valid].astype(np.int64) * n + pred[valid], minlength=n * n).reshape(n, n)
    return total


def careful_loop(samples: list[Sample], thresholds: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the same counts with everything moved out of the loop that does not depend on the threshold."""
    n = num_classes + 1
    total = np.zeros((len(thresholds), n, n), np.int64)
    for cam, classes, gt in samples:
        valid = gt != 255
        row = gt[valid].astype(np.int64) * n
        value, label = cam.max(axis=0)[valid], (classes + 1)[cam.argmax(axis=0)[valid]]
        for i, threshold in enumerate(thresholds):
            total[i] += np.bincount(row + np.where(value > threshold, label, 0), minlength=n * n).reshape(n, n)
    return total


def ours(samples: list[Sample], thresholds: np.ndarray, num_classes: int) -> CAMHistogram:
    """Returns the histogram of one pass."""
    total = CAMHistogram.zeros(num_classes, len(thresholds))
    for cam, classes, gt in samples:
        total += cam_histogram(cam, classes, gt, thresholds, num_classes)
    return total


def assert_equal(histogram: CAMHistogram, confusion: np.ndarray) -> None:
    """Asserts that a histogram and confusion matrices say the same, to the last count."""
    tp = confusion.diagonal(axis1=1, axis2=2)
    # Counts by (ground truth background, same, other) of every class and threshold, from either side.
    foreground = histogram.pred[..., ::-1].cumsum(axis=-1)[..., -2::-1]
    predicted = confusion.sum(axis=1)[:, 1:]
    expected = np.stack([confusion[:, 0, 1:], tp[:, 1:], predicted - confusion[:, 0, 1:] - tp[:, 1:]])
    np.testing.assert_array_equal(foreground.transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(histogram.gt, confusion[0].sum(axis=1))
    with np.errstate(invalid='ignore'):
        iou = tp / (confusion.sum(axis=1) + confusion.sum(axis=2) - tp)
    np.testing.assert_array_equal(curve_from_histogram(histogram)['iou'], iou.T)


def measure(size: tuple[int, int], num_classes: int, per_image: int, num_thresholds: int,
            images: int, rounds: int = 5) -> dict[str, float]:
    """Times the three on one kind of data.

    Returns:
        Milliseconds an image, of the fastest run: ``ours``, ``obvious``, ``careful``.

    Raises:
        AssertionError: If their counts differ.
    """
    samples = make_samples(images, size, num_classes, per_image, seed=0)
    thresholds = np.arange(num_thresholds, dtype=np.float32) / num_thresholds
    # The shorter, the more often: a run of one millisecond is easily disturbed.
    functions = dict(ours=(ours, 10), obvious=(obvious_loop, 1), careful=(careful_loop, 2))
    seconds, results = dict.fromkeys(functions, float('inf')), {}
    for _ in range(rounds):
        # In turn, so that a busy moment of the machine does not fall on one of them alone.
        for name, (function, repeats) in functions.items():
            for _ in range(repeats):
                start = time.perf_counter()
                results[name] = function(samples, thresholds, num_classes)
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    assert_equal(results['ours'], results['obvious'])
    assert_equal(results['ours'], results['careful'])
    return {name: 1e3 * shortest / images for name, shortest in seconds.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Time the threshold curve against loops over thresholds')
    parser.add_argument('--thresholds', type=int, default=60)
    parser.add_argument('--images', type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    table = Table(title=f'{args.thresholds} thresholds, ms an image, 1 thread; all counts equal')
    for column in ('image', 'classes', 'maps', 'ours', 'obvious loop', 'ratio', 'careful loop', 'ratio'):
        table.add_column(column, justify='right')
    lowest = float('inf')
    for size, num_classes in (((256, 192), 8), ((500, 375), 20)):
        for per_image in (1, 2, 8):
            ms = measure(size, num_classes, per_image, args.thresholds, args.images)
            ratio = ms['obvious'] / ms['ours']
            lowest = min(lowest, ratio)
            table.add_row(f'{size[0]} x {size[1]}', str(num_classes), str(per_image), f'{ms["ours"]:.2f}',
                          f'{ms["obvious"]:.1f}', f'{ratio:.0f} x', f'{ms["careful"]:.1f}',
                          f'{ms["careful"] / ms["ours"]:.0f} x')
    console = Console()
    console.print(table)
    console.print(f'lowest ratio to the obvious loop: {lowest:.0f} x (target at 60 thresholds: {TARGET} x)',
                  highlight=False)
    return 0


if __name__ == '__main__':
    run_cli(main)
