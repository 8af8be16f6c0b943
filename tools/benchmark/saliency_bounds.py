"""Saliency maps that bound what the saliency-conflict loss can give: the ground truth, and those of other images.

``OUT/SaliencyTruth/<stem>.png`` is 255 on all objects of the mask, what a perfect saliency network would find, and
127 (neither; not salient where that is asked) where the mask ignores pixels.
``OUT/SaliencyShuffled/<stem>.png`` is the saliency map of another image of the split, drawn at random and brought to
the image's size: what is left of a gain is not due to saliency. A training takes them by
``--cfg-options train_dataloader.dataset.saliency_dir=DIR``. The ground truth is for the bound alone.

    python tools/benchmark/saliency_bounds.py --data-root DATA --split train --out-dir DIR
"""
import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmwsss.cli.run_cli import run_cli
from mmwsss.datasets import DataFolder
from mmwsss.datasets.transforms.loading import read_saliency
from mmwsss.structures.label_file import IGNORE, read_label
from mmwsss.utils.errors import UserError

TRUTH, SHUFFLED = 'SaliencyTruth', 'SaliencyShuffled'
UNDECIDED = 127


def derangement(count: int, seed: int) -> np.ndarray:
    """Draws for each of ``count`` images another one, each of them once; a cycle through all of them at random."""
    order = np.random.default_rng(seed).permutation(count)
    result = np.empty(count, np.int64)
    result[order] = np.roll(order, 1)
    return result


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', required=True)
    parser.add_argument('--split', default='train')
    parser.add_argument('--out-dir', type=Path, required=True)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    data = DataFolder.find(args.data_root)
    stems, masks, saliency = data.stems(args.split), data.mask_paths(), data.saliency_paths()
    for what, files in (('mask', masks), ('saliency map', saliency)):
        if missing := [stem for stem in stems if stem not in files]:
            raise UserError(f'{missing[0]}: has no {what} ({len(missing)} of {len(stems)})')
    if len(stems) < 2:
        raise UserError(f'{args.split}: shuffling takes two images at least')
    for name in (TRUTH, SHUFFLED):
        (args.out_dir / name).mkdir(parents=True, exist_ok=True)
    for stem, other in zip(stems, derangement(len(stems), args.seed)):
        mask = read_label(masks[stem], data.mask_values)
        truth = np.select([mask == IGNORE, mask > 0], [UNDECIDED, 255], 0).astype(np.uint8)
        Image.fromarray(truth).save(args.out_dir / TRUTH / f'{stem}.png')
        shuffled = cv2.resize(read_saliency(saliency[stems[other]]), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        Image.fromarray(shuffled).save(args.out_dir / SHUFFLED / f'{stem}.png')
    print(f'{args.out_dir}: {TRUTH} and {SHUFFLED} of {len(stems)} images')
    return 0


if __name__ == '__main__':
    run_cli(main)
