"""Compares two evaluations image by image: does one gain where the model activates too little, or too much?

The three files are those of ``eval_cam.py --per-image``. Images fall into groups of one size by ``recall - precision``
of their foreground in the third: below 0 where an object is found in part only (under-activated), above where more
than it is found. The third is of another training of the first one's model, since an image that the first has wrong
by chance would be in an extreme group, and gain for that.

    python tools/analysis_tools/compare_images.py base.csv other.csv --by base_of_another_seed.csv
"""
import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from mmwsss.cli.run_cli import run_cli
from mmwsss.evaluation.breakdown import IMAGE_COLUMNS
from mmwsss.utils.console import make_console
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import write_json


def read_images(path: Path) -> dict[str, dict[str, float]]:
    """Reads a file of ``eval_cam.py --per-image``: image -> {column: value}, without the values that it has none of.

    Raises:
        UserError: If it is not such a file.
    """
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != IMAGE_COLUMNS:
                raise UserError(f'{path}: is not a file of eval_cam.py --per-image, whose columns are '
                                f'{", ".join(IMAGE_COLUMNS)}')
            return {row.pop('image'): {name: float(value) for name, value in row.items() if value} for row in reader}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f'{path}: cannot be read ({error})') from error


def activation(image: Mapping[str, float]) -> float | None:
    """Returns recall - precision of an image: -1 to 1, ``None`` without foreground in the mask.

    Nothing predicted is a recall of 0; the precision, which it has none of, then counts as 1.
    """
    return image['recall'] - image.get('precision', 1.0) if 'recall' in image else None


def compare(base: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]],
            by: Mapping[str, Mapping[str, float]], groups: int) -> list[dict[str, Any]]:
    """Compares the mIoU of images in groups of one size, from the least activated to the most.

    Args:
        base: Image -> its figures.
        other: The same of what is compared with it.
        by: The same of what says which group an image is in.
        groups: Number of groups.

    Returns:
        A dict a group: ``num_images``; ``activation``, the lowest and the highest of :func:`activation`; ``base`` and
        ``other``, means of the mIoU of single images; ``difference`` of the two, and its standard error ``error``
        (``None`` for one image); ``gaining``, the share of images that gain; ``better``, the mean with the better of
        the two for every image, which is the most that a choice between them could give.

    Raises:
        UserError: If fewer images are in all three than there are groups.
    """
    places = {stem: place for stem, image in by.items() if (place := activation(image)) is not None
              and all('mIoU' in one.get(stem, ()) for one in (base, other))}
    if len(places) < groups:
        raise UserError(f'{len(places)} images with foreground are in all three files, which are too few for {groups} '
                        'groups')
    rows = []
    for stems in np.array_split(sorted(places, key=lambda stem: (places[stem], stem)), groups):
        before, after = (np.array([one[stem]['mIoU'] for stem in stems]) for one in (base, other))
        gain = after - before
        rows.append(dict(
            num_images=len(stems), activation=[places[stems[0]], places[stems[-1]]], base=float(before.mean()),
            other=float(after.mean()), difference=float(gain.mean()), gaining=float((gain > 0).mean()),
            better=float(np.maximum(before, after).mean()),
            error=float(gain.std(ddof=1) / len(gain) ** 0.5) if len(gain) > 1 else None))
    return rows


def images_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Lays what :func:`compare` returns out as a table, in percent."""
    table = Table(title=Text('mean mIoU of single images'), title_justify='left')
    for column in ('recall - precision', 'images', 'base', 'other', 'difference', 'standard error', 'images that gain',
                   'better of both'):
        table.add_column(column, justify='right')
    for row in rows:
        low, high = row['activation']
        error = '-' if row['error'] is None else f'{100 * row["error"]:.2f}'
        means = [f'{100 * row[name]:.2f}' for name in ('base', 'other')]
        table.add_row(f'{low:.2f} to {high:.2f}', str(row['num_images']), *means, f'{100 * row["difference"]:+.2f}',
                      error, f'{100 * row["gaining"]:.0f} %', f'{100 * row["better"]:.2f}')
    return table


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('base', type=Path, metavar='BASE', help='csv file of the evaluation to compare with')
    parser.add_argument('other', type=Path, metavar='OTHER', help='csv file of the other one')
    parser.add_argument('--by', type=Path, required=True, metavar='FILE',
                        help='csv file that groups the images: of another training of the model of BASE')
    parser.add_argument('--groups', type=int, default=4, metavar='N', help='number of groups (default: 4)')
    parser.add_argument('--out', type=Path, metavar='FILE', help='json file for the table; its values are fractions')
    args = parser.parse_args(argv)
    if args.groups < 1:
        parser.error('--groups must be at least 1')
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    base, other, by = map(read_images, (args.base, args.other, args.by))
    if by == base:
        raise UserError(f'{args.by}: holds the same figures as {args.base}; name the evaluation of another training, '
                        'or images that are wrong by chance will seem to gain')
    rows = compare(base, other, by, args.groups)
    make_console().print(images_table(rows))
    if args.out is not None:
        write_json(args.out, rows)
    return 0


if __name__ == '__main__':
    run_cli(main)
