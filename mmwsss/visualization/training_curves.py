"""Plots of what trainings log."""
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmwsss.utils.errors import UserError
from mmwsss.visualization.plot import plot

Curves = dict[str, list[tuple[int, float]]]
# What is logged of every step, and no result of it.
BOOKKEEPING = ('epoch', 'iter', 'step', 'time', 'data_time', 'memory')


def find_scalars(path: str | os.PathLike) -> list[Path]:
    """Finds the logs of a training: ``vis_data/scalars.json`` of MMEngine, the oldest first.

    Args:
        path: Such a file, or the work folder of the training. A training that was resumed has several.

    Raises:
        UserError: If there is none.
    """
    path = Path(path)
    found = [path] if path.is_file() else sorted(path.glob('*/vis_data/scalars.json')) or sorted(
        path.glob('vis_data/scalars.json'))
    if not found:
        raise UserError(f'{path}: holds no vis_data/scalars.json; name the work folder of a training')
    return found


def read_scalars(path: str | os.PathLike) -> Curves:
    """Reads what a training has logged.

    Args:
        path: See :func:`find_scalars`. Steps that a resumed training did again count as it did them last.

    Returns:
        Name -> (step, value) by step, of everything but times and memory; values that are not finite are left out.

    Raises:
        UserError: If there is no log, or it is damaged.
    """
    curves: dict[str, dict[int, float]] = {}
    for file in find_scalars(path):
        try:
            text = file.read_text(encoding='utf-8')
        except UnicodeDecodeError as error:
            raise UserError(f'{file}: is no log of a training; name its work folder, or vis_data/scalars.json in '
                            'it') from error
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                step = int(entry.get('step', entry.get('iter', 0)))
                values = {name: value for name, value in entry.items() if name not in BOOKKEEPING
                          and isinstance(value, (int, float)) and math.isfinite(value)}
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                if number == len(lines) and not text.endswith('\n'):  # of a training that was killed as it wrote it
                    break
                raise UserError(f'{file}: line {number}: is no entry of a log ({error})') from error
            for name, value in values.items():
                curves.setdefault(name, {})[step] = value
    return {name: sorted(points.items()) for name, points in curves.items()}


def plot_curves(trainings: Mapping[str, Curves], path: str | os.PathLike, keys: Sequence[str] = ('loss', ),
                title: str | None = None) -> None:
    """Plots logged values over the steps, a panel for each key and a line for each training.

    Args:
        trainings: Name -> what :func:`read_scalars` returns.
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        keys: Names of the values.
        title: Title of the picture.

    Raises:
        UserError: If no training has logged one of them, or the file has another suffix.
    """
    for key in keys:
        if not any(key in curves for curves in trainings.values()):
            known = sorted({name for curves in trainings.values() for name in curves})
            raise UserError(f'{key!r}: was logged by none of {", ".join(trainings)}; there are {", ".join(known)}')
    with plot(path, 7, .6 + 2.6 * len(keys)) as figure:
        panels = figure.subplots(len(keys), 1, sharex=True, squeeze=False)[:, 0]
        for key, panel in zip(keys, panels):
            for name, curves in trainings.items():
                if key in curves:
                    steps, values = zip(*curves[key])
                    panel.plot(steps, values, label=name, marker='.' if len(steps) < 30 else None)
            panel.set_ylabel(key)
            panel.grid(alpha=.3)
        panels[-1].set_xlabel('step')
        panels[0].legend(frameon=False)
        if title:
            figure.suptitle(title)
