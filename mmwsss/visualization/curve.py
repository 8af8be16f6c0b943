"""Plot of a threshold curve."""
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mmwsss.utils.errors import UserError
from mmwsss.visualization.plot import plot


def plot_curve(report: dict[str, Any], path: str | os.PathLike, title: str | None = None) -> None:
    """Plots mIoU, m_FN and m_FP over the threshold, and marks the best threshold, called "oracle".

    Args:
        report: Report of :func:`mmwsss.evaluation.cam_report`.
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        title: Title of the picture.

    Raises:
        UserError: If the report has no curve (that of label maps), or the file another suffix.
    """
    if not report['curve']:
        raise UserError(f'{path}: label maps have no threshold, so there is no curve to plot')
    with plot(path, 7, 4.2) as figure:
        _draw(figure, report, title)


def plot_curves(reports: Mapping[str, dict[str, Any]], path: str | os.PathLike, title: str | None = None,
                over_alpha: bool = False) -> None:
    """Plots the mIoU of several models over the threshold into one picture (SEAM Fig. 6), their best ones marked.

    Args:
        reports: {name in the legend: report of :func:`mmwsss.evaluation.cam_report`}.
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        title: Title of the picture.
        over_alpha: The axis is the exponent of the background ``(1 - max)^alpha`` instead, see :func:`alpha_of`.

    Raises:
        UserError: If a report has no curve, or the file another suffix.
    """
    for name, report in reports.items():
        if not report.get('curve'):
            raise UserError(f'{name}: has no curve over the threshold; name a report of CAM files (mmwsss eval --out)')
    with plot(path, 7, 4.2) as figure:
        _draw_curves(figure, reports, title, over_alpha)


def alpha_of(threshold: np.ndarray | float) -> np.ndarray | float:
    """Returns the exponent whose power background makes the same labels as a constant one.

    A pixel's highest map m exceeds ``(1 - m)^alpha``, which falls as m grows, exactly where it exceeds the threshold t
    with ``t = (1 - t)^alpha``: alpha = log t / log(1 - t).

    Args:
        threshold: In (0, 1).
    """
    return np.log(threshold) / np.log1p(-threshold)


def _draw_curves(figure: Figure, reports: Mapping[str, dict[str, Any]], title: str | None,
                 over_alpha: bool = False) -> None:
    axes = figure.add_subplot()
    for name, report in reports.items():
        # At 0 and 1 alpha is infinite or 0.
        points = [(point['threshold'], point['mIoU']) for point in report['curve']
                  if not over_alpha or 0 < point['threshold'] < 1]
        places, values = np.array(points, float).reshape(-1, 2).T
        line, = axes.plot(alpha_of(places) if over_alpha else places, 100 * values, linewidth=2)
        label, best = name, report['threshold']
        if best is not None and (not over_alpha or 0 < best < 1):
            best = alpha_of(best) if over_alpha else best
            axes.plot(best, 100 * report['mIoU'], 'o', color=line.get_color())
            label += f': {100 * report["mIoU"]:.1f} % at {best:.3g} (oracle)'
        line.set_label(label)
    axes.set_xlabel('exponent alpha of the background $(1 - max)^{alpha}$' if over_alpha else 'background threshold')
    if over_alpha:
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_ylabel('mIoU (%)')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=.3)
    figure.legend(loc='outside lower center', ncols=min(2, len(reports)), frameon=False)
    if title:
        axes.set_title(title)


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
