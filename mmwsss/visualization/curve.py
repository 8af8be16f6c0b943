"""Plot of a threshold curve."""
import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path

FORMATS = ('.png', '.pdf', '.svg')


def plot_curve(report: dict[str, Any], path: str | os.PathLike, title: str | None = None) -> None:
    """Plots mIoU, m_FN and m_FP over the threshold, and marks the best threshold, called "oracle".

    Args:
        report: Report of :func:`mmwsss.evaluation.cam_report`.
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        title: Title of the picture.

    Raises:
        UserError: If the report has no curve (that of label maps), or the file another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f'{path}: a curve can be written as {", ".join(FORMATS)}; change the suffix')
    if not report['curve']:
        raise UserError(f'{path}: label maps have no threshold, so there is no curve to plot')
    # Not pyplot, which keeps every figure and asks the environment for a display.
    figure = Figure(figsize=(7, 4.2), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    _draw(figure, report, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _draw(figure: Figure, report: dict[str, Any], title: str | None) -> None:
    curve = report['curve']
    threshold = [point['threshold'] for point in curve]
    # None becomes NaN, which leaves a gap.
    values = {name: np.array([point[name] for point in curve], float) for name in ('mIoU', 'm_FN', 'm_FP')}
    left = figure.add_subplot()
    right = left.twinx()
    lines = left.plot(threshold, 100 * values['mIoU'], color='tab:blue', linewidth=2, label='mIoU')
    lines += right.plot(threshold, values['m_FN'], color='tab:orange', linestyle='--',
                        label='$m_{FN}$: mean of FN / TP over the classes (too small)')
    lines += right.plot(threshold, values['m_FP'], color='tab:green', linestyle=':',
                        label='$m_{FP}$: mean of FP / TP over the classes (too large)')
    if report['threshold'] is not None:
        lines.append(left.axvline(report['threshold'], color='grey', linewidth=1, label=(
            f'oracle threshold {report["threshold"]:g}: mIoU {100 * report["mIoU"]:.1f} %')))
    left.set_xlabel('background threshold')
    left.set_ylabel('mIoU (%)', color='tab:blue')
    left.set_ylim(bottom=0)
    right.set_ylabel('$m_{FN}$, $m_{FP}$')
    right.set_yscale('symlog', linthresh=1)  # both grow without bound; 0 is a value too
    right.set_ylim(0, _upper_limit(values['m_FN'], values['m_FP']))
    right.yaxis.set_major_formatter(ScalarFormatter())
    left.grid(alpha=.3)
    figure.legend(handles=lines, loc='outside lower center', ncols=1, frameon=False)
    if title:
        left.set_title(title)


def _upper_limit(fn: np.ndarray, fp: np.ndarray) -> float:
    """Returns an upper end for the axis of m_FN and m_FP below which both lie."""
    known = np.concatenate([fn, fp])
    return max(2., 1.2 * np.nanmax(known, initial=0)) if np.isfinite(known).any() else 2.
