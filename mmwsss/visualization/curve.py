"""Plot of a threshold curve."""
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import ScalarFormatter

from mmwsss.utils.errors import UserError
from mmwsss.visualization.plot import plot

# Metrics that are no shares, and what their axis is called.
RATIOS = {'m_FN': '$m_{FN}$: mean of FN / TP (too small)', 'm_FP': '$m_{FP}$: mean of FP / TP (too large)'}


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
                over_alpha: bool = False, metrics: Sequence[str] = ('mIoU',)) -> None:
    """Plots metrics of several models over the threshold, one beside the other, the points of the best mIoU marked.

    SEAM's Fig. 6 is m_FN and m_FP of two models.

    Args:
        reports: {name in the legend: report of :func:`mmwsss.evaluation.cam_report`}.
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        title: Title of the picture.
        over_alpha: The axis is the exponent of the background ``(1 - max)^alpha`` instead, see :func:`alpha_of`.
        metrics: Some of :data:`mmwsss.evaluation.evaluation_report.CURVES`, each a panel. Shares are in percent; the
            axis of m_FN and m_FP, which know no limit, is linear to 1 and logarithmic above.

    Raises:
        UserError: If a report has no curve or not these metrics, or the file another suffix.
    """
    for name, report in reports.items():
        if not report.get('curve'):
            raise UserError(f'{name}: has no curve over the threshold; name a report of CAM files (mmwsss eval --out)')
        if not _is_report(report):
            raise UserError(f'{name}: is no report of mmwsss eval --out: {{"threshold": ..., "mIoU": ..., "curve": '
                            '[{"threshold": ..., "mIoU": ...}, ...]}; name another file')
        for metric in metrics:
            if any(metric not in point for point in report['curve']):
                raise UserError(f'{name}: has no {metric} in its curve, being of an older version; make it anew '
                                'with mmwsss eval --out')
    with plot(path, max(7, 5 * len(metrics)), 4.2) as figure:
        _draw_curves(figure, reports, title, over_alpha, metrics)


def _is_report(report: Mapping[str, Any]) -> bool:
    """Returns whether all that is drawn of a report is a number; a metric may also be unknown, ``None``."""
    curve, best = report['curve'], report.get('threshold')
    return (isinstance(curve, list) and all(isinstance(point, dict) and _is_number(point.get('threshold'))
                                            and all(value is None or _is_number(value) for value in point.values())
                                            for point in curve)
            and (best is None or _is_number(best)) and (best is None or _is_number(report.get('mIoU'))))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def alpha_of(threshold: np.ndarray | float) -> np.ndarray | float:
    """Returns the exponent whose power background makes the same labels as a constant one.

    A pixel's highest map m exceeds ``(1 - m)^alpha``, which falls as m grows, exactly where it exceeds the threshold t
    with ``t = (1 - t)^alpha``: alpha = log t / log(1 - t).

    Args:
        threshold: In (0, 1).
    """
    return np.log(threshold) / np.log1p(-threshold)


def _draw_curves(figure: Figure, reports: Mapping[str, dict[str, Any]], title: str | None,
                 over_alpha: bool = False, metrics: Sequence[str] = ('mIoU',)) -> None:
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics):
        for name, report in reports.items():
            _draw_line(axes, report, metric, over_alpha).set_label(_legend(name, report, over_alpha))
        axes.set_xlabel('exponent alpha of the background $(1 - max)^{alpha}$' if over_alpha
                        else 'background threshold')
        if over_alpha:
            axes.set_xscale('log')
            axes.xaxis.set_major_formatter(ScalarFormatter())
        if metric in RATIOS:
            axes.set_ylabel(RATIOS[metric])
            _ratio_axis(axes, np.concatenate([_values(report, metric) for report in reports.values()]))
        else:
            axes.set_ylabel(f'{metric.replace("_", " ")} (%)')
            axes.set_ylim(bottom=0)
        axes.grid(alpha=.3)
    # Every panel has the same lines.
    figure.legend(handles=[line for line in panels[0].get_lines() if not line.get_label().startswith('_')],
                  loc='outside lower center', ncols=min(2, len(reports)), frameon=False)
    if title:
        figure.suptitle(title)


def _draw_line(axes: Axes, report: dict[str, Any], metric: str, over_alpha: bool) -> Line2D:
    """Draws one model's curve, and a dot at its best mIoU; returns the curve."""
    values = _values(report, metric) * (1 if metric in RATIOS else 100)
    places = np.array([point['threshold'] for point in report['curve']], float)
    if over_alpha:
        inner = (places > 0) & (places < 1)  # alpha is infinite or 0 at the ends
        places, values = places[inner], values[inner]
    best = places == report.get('threshold')
    shown = alpha_of(places) if over_alpha else places
    line, = axes.plot(shown, values, linewidth=2)
    if best.any():
        axes.plot(shown[best], values[best], 'o', color=line.get_color())
    return line


def _legend(name: str, report: dict[str, Any], over_alpha: bool) -> str:
    best = report.get('threshold')
    if best is None or (over_alpha and not 0 < best < 1):
        return name
    place = alpha_of(best) if over_alpha else best
    return f'{name}: mIoU {100 * report["mIoU"]:.1f} % at {place:.3g} (oracle)'


def _values(report: dict[str, Any], metric: str) -> np.ndarray:
    """Returns a metric at every threshold; None becomes NaN, which leaves a gap."""
    return np.array([point[metric] for point in report['curve']], float)


def _ratio_axis(axes: Axes, values: np.ndarray) -> None:
    """Fits the axis of ratios, which grow without bound and may be 0."""
    axes.set_yscale('symlog', linthresh=1)
    axes.set_ylim(0, _upper_limit(values))
    axes.yaxis.set_major_formatter(ScalarFormatter())


def _draw(figure: Figure, report: dict[str, Any], title: str | None) -> None:
    threshold = [point['threshold'] for point in report['curve']]
    values = {name: _values(report, name) for name in ('mIoU', *RATIOS)}
    left = figure.add_subplot()
    right = left.twinx()
    lines = left.plot(threshold, 100 * values['mIoU'], color='tab:blue', linewidth=2, label='mIoU')
    lines += right.plot(threshold, values['m_FN'], color='tab:orange', linestyle='--',
                        label=RATIOS['m_FN'])
    lines += right.plot(threshold, values['m_FP'], color='tab:green', linestyle=':',
                        label=RATIOS['m_FP'])
    if report['threshold'] is not None:
        lines.append(left.axvline(report['threshold'], color='grey', linewidth=1, label=(
            f'oracle threshold {report["threshold"]:g}: mIoU {100 * report["mIoU"]:.1f} %')))
    left.set_xlabel('background threshold')
    left.set_ylabel('mIoU (%)', color='tab:blue')
    left.set_ylim(bottom=0)
    right.set_ylabel('$m_{FN}$, $m_{FP}$')
    _ratio_axis(right, np.concatenate([values['m_FN'], values['m_FP']]))
    left.grid(alpha=.3)
    figure.legend(handles=lines, loc='outside lower center', ncols=1, frameon=False)
    if title:
        left.set_title(title)


def _upper_limit(values: np.ndarray) -> float:
    """Returns an upper end for the axis of m_FN and m_FP below which all lie."""
    return max(2., 1.2 * np.nanmax(values, initial=0)) if np.isfinite(values).any() else 2.
