"""The table of all stages of a pipeline, for the terminal, for a README and as json.

A row is a dict with

- ``stage``: its name (required);
- ``metric``, ``value``, ``unit``: what was measured; a value of None was not measured. Percentages are given as such
  (``value=47.1, unit='%'``);
- ``note``: a remark, such as the split;
- ``oracle``: true if the value was chosen on ground truth (such as the best of all thresholds): it is labelled so
  wherever it is shown;
- ``after``: the post-processors that it was measured behind, such as ``DenseCRF``;
- ``seconds``: how long the stage took; the rows of one stage carry the same number, it is shown and summed once;
- ``reused``: true if an earlier run had completed the stage, so that it was not run again.
"""
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from mmwsss.experiments.table_text import duration_text, markdown_table, number_form

KEYS = ('stage', 'metric', 'value', 'unit', 'note', 'seconds', 'reused', 'oracle', 'after')
HEADER = ('Stage', 'Metric', 'Value', 'Time', 'Note')
ALIGN = 'llrrl'
REUSED = 'reused from an earlier run'


def results_table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> Table:
    """Returns the rows as a rich table.

    Args:
        rows: See the module.
        title: Title of the table.

    Raises:
        ValueError: If a row has no stage or an unknown key.
    """
    table = Table(title=None if title is None else Text(title), title_justify='left')
    for name, side in zip(HEADER, ALIGN):
        table.add_column(name, justify='right' if side == 'r' else 'left', overflow='fold')
    for cells in _lines(rows):
        if cells[0]:
            table.add_section()
        # As Text, since a name in square brackets would be taken for a style.
        table.add_row(*map(Text, cells))
    table.add_section()
    table.add_row(*_total(rows))
    return table


def results_markdown(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> str:
    """Returns the rows as a markdown table, with the title as a heading; arguments as :func:`results_table`."""
    text = markdown_table(HEADER, [*_lines(rows), _total(rows)], ALIGN)
    return (f'## {title}\n\n' if title else '') + text + '\n'


def results_json(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the rows as json values.

    Args:
        rows: See the module.

    Returns:
        ``rows``: the rows with all keys, None where nothing was given or the value is not finite; ``oracle`` is a
        bool. ``seconds``: of all stages together.
    """
    _check(rows)
    plain = []
    for row in rows:
        values = {key: row.get(key) for key in KEYS}
        for key in ('value', 'seconds'):
            values[key] = None if values[key] is None or not math.isfinite(values[key]) else float(values[key])
        values['oracle'] = bool(values['oracle'])
        plain.append(values)
    return dict(rows=plain, seconds=_total_seconds(rows))


def _check(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        unknown = sorted(row.keys() - set(KEYS))
        if unknown or not row.get('stage'):
            raise ValueError(f'a row needs a stage and has no keys but {KEYS}: {dict(row)}')


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of each row; stage, time and what says that it was reused appear in the first row of a stage only."""
    _check(rows)
    lines, before = [], None
    for row in rows:
        first, before = row['stage'] != before, row['stage']
        notes = [row.get('note') or '', REUSED if first and row.get('reused') else '']
        lines.append((row['stage'] if first else '', row.get('metric') or '', value_text(row),
                      _duration(row) if first else '', '; '.join(filter(None, notes))))
    return lines


def value_text(row: Mapping[str, Any]) -> str:
    """Returns the figure of a row with its unit, ``41.2 % (oracle)``."""
    value, unit = row.get('value'), row.get('unit') or ''
    if value is None or not math.isfinite(value):
        # A stage that measures nothing has an empty cell, a metric that could not be measured a dash.
        return '-' if row.get('metric') else ''
    return f'{value:{number_form(value, unit)}} {unit}'.strip() + (' (oracle)' if row.get('oracle') else '')


def _duration(row: Mapping[str, Any]) -> str:
    return '' if row.get('seconds') is None else duration_text(row['seconds'])


def _total(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return 'all stages', '', '', duration_text(_total_seconds(rows)), ''


def _total_seconds(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(sum({row['stage']: row.get('seconds') or 0 for row in rows}.values()))
