"""Line and bar charts as the numbers that the page's SVG is drawn from."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 44
MAX_POINTS = 300


@dataclass(frozen=True)
class Chart:
    """A chart with lines.

    Attributes:
        title: What it shows.
        x_label: Of the horizontal axis.
        x_ticks: (position in the drawing, text) of its ticks.
        y_ticks: Likewise, vertical.
        lines: (name, points of an SVG polyline) of every line; gaps make several polylines of one name.
    """
    title: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[tuple[str, list[str]]]


def line_chart(title: str, x_label: str, series: Mapping[str, Sequence[tuple[float, float | None]]],
               from_zero: bool = True) -> Chart | None:
    """Lays lines out.

    Args:
        title: What the chart shows.
        x_label: What x is.
        series: {name: points (x, y)}; a y of ``None`` leaves a gap. Of many points every n-th is drawn.
        from_zero: Whether the vertical axis begins at 0.

    Returns:
        The chart; ``None`` if there is no point.
    """
    series = {name: thin(points) for name, points in series.items()}
    known = [(x, y) for points in series.values() for x, y in points if y is not None and math.isfinite(y)]
    if not known:
        return None
    x_low, x_high = min(x for x, _ in known), max(x for x, _ in known)
    y_low, y_high = min(y for _, y in known), max(y for _, y in known)
    y_ticks_at = nice_ticks(0 if from_zero and y_low >= 0 else y_low, y_high)
    x_ticks_at = [tick for tick in nice_ticks(x_low, x_high) if x_low <= tick <= x_high]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else .5
        up = (y - y_ticks_at[0]) / (y_ticks_at[-1] - y_ticks_at[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    lines = []
    for name, points in series.items():
        parts: list[list[str]] = [[]]
        for x, y in points:
            if y is None or not math.isfinite(y):
                parts.append([])
            else:
                parts[-1].append('{:.1f},{:.1f}'.format(*place(x, y)))
        lines.append((name, [' '.join(part * 2 if len(part) == 1 else part) for part in parts if part]))
    return Chart(title, x_label, [(place(tick, 0)[0], f'{tick:g}') for tick in x_ticks_at],
                 [(place(x_low, tick)[1], f'{tick:g}') for tick in y_ticks_at], lines)


def thin(points: Sequence[Any]) -> list[Any]:
    """Returns at most :data:`MAX_POINTS` points, evenly spread, the last one included."""
    points = list(points)
    step = math.ceil(len(points) / MAX_POINTS)
    return points if step <= 1 else [*points[:-1:step], points[-1]]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns round numbers from at or below ``low`` to at or above ``high``, about ``count`` and at least two."""
    if high <= low:
        high = low + (abs(low) or 1)
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
