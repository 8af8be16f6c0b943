"""What the tables of results have in common: means over seeds, the text of figures, and markdown."""
import statistics
from collections.abc import Iterable, Sequence


def mean(values: Iterable[float | None]) -> float | None:
    """Returns the mean of the values that are not ``None``; ``None`` if there is none."""
    values = [value for value in values if value is not None]
    return statistics.fmean(values) if values else None


def std(values: Iterable[float | None]) -> float | None:
    """Returns the sample standard deviation (n - 1) of the values that are not ``None``; ``None`` below two."""
    values = [value for value in values if value is not None]
    return statistics.stdev(values) if len(values) > 1 else None


def number_form(value: float, unit: str, percent_digits: int = 1) -> str:
    """Returns the format of a figure: percentages have fixed digits, others four significant ones or more."""
    if unit == '%':
        return f'.{percent_digits}f'
    if isinstance(value, int):
        return 'd'
    return '.4g' if abs(value) < 1000 else '.0f'


def optional_text(value: float | None, form: str, factor: float = 1) -> str:
    """Returns ``factor * value`` in a format; a dash for ``None``."""
    return '-' if value is None else f'{factor * value:{form}}'


def spread_text(mean: float | None, std: float | None, form: str, factor: float = 1) -> str:
    """Returns ``mean ± std``, each times ``factor``; without the second where there is one value only."""
    spread = '' if std is None else f' ± {factor * std:{form}}'
    return optional_text(mean, form, factor) + spread


def duration_text(seconds: float) -> str:
    """Returns seconds as ``3.2 s``, ``1 min 08 s`` or ``2 h 05 min``."""
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes:02d} min' if hours else f'{minutes} min {rest:02d} s'


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """Lays a table out in markdown, with columns that line up in a terminal too.

    Args:
        header: The names of the columns.
        rows: Their cells.
        align: A letter for each column, ``l`` for text and ``r`` for numbers.
    """
    cells = [[cell.replace('|', r'\|').replace('\n', ' ') for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    rule = ['-' * width if side == 'l' else '-' * (width - 1) + ':' for width, side in zip(widths, align)]
    return '\n'.join('| ' + ' | '.join(
        cell.ljust(width) if side == 'l' else cell.rjust(width)
        for cell, width, side in zip(row, widths, align)) + ' |' for row in [cells[0], rule, *cells[1:]])
