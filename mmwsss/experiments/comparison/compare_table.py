"""A comparison of pipelines as text: tables for the terminal and in markdown, and what must be said below them."""
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from mmwsss.experiments.comparison.compare import ABSENT, MISSING, UNMEASURED, Cell, Comparison, Line
from mmwsss.experiments.comparison.measures import unmeasured_of
from mmwsss.experiments.table_text import duration_text, markdown_table, number_form, spread_text
from mmwsss.experiments.work_dir import WorkDirContent

EMPTY_CELLS = {MISSING: 'missing', UNMEASURED: '-', ABSENT: ''}
TITLE = 'Comparison of pipelines'


@dataclass(frozen=True)
class TextTable:
    """A table of text; the columns of names come first, then one for each pipeline.

    Attributes:
        title: Its heading.
        header: The names of the columns.
        rows: The cells; the name of a stage stands in the first of its rows only.
        num_names: How many columns of names there are.
    """
    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    num_names: int

    @property
    def align(self) -> str:
        """``l`` for every column of names, ``r`` for the others."""
        return 'l' * self.num_names + 'r' * (len(self.header) - self.num_names)


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """Returns the figures of all stages, those of the classes where they were asked for, and the times."""
    names = tuple(f'{name} ({len(folders)} seeds)' if len(folders) > 1 else name
                  for name, folders in comparison.pipelines.items())
    tables = [TextTable('Stage by stage', ('Stage', 'Metric', *names), _figures(comparison, comparison.metrics), 2)]
    if comparison.classes:
        tables.append(TextTable(f'Classes of {comparison.class_stage}', ('Class', 'Metric', *names),
                                _figures(comparison, comparison.classes), 2))
    rows = [(line.name, *(EMPTY_CELLS.get(cell.state) or ('' if cell.mean is None else duration_text(cell.mean))
                          for cell in line.cells.values())) for line in comparison.times]
    rows.append(('all stages', *(_total(comparison, name) for name in comparison.pipelines)))
    return [*tables, TextTable('Wall time', ('Stage', *names), rows, 1)]


def _figures(comparison: Comparison, lines: Sequence[Line]) -> list[tuple[str, ...]]:
    rows, before = [], None
    for line in lines:
        cells = [_cell(cell, line.measure.unit, len(comparison.pipelines[name])) for name, cell in line.cells.items()]
        rows.append((line.name if line.name != before else '', _label(line), *cells))
        before = line.name
    return rows


def _label(line: Line) -> str:
    measure = line.measure
    remark = ', '.join(filter(None, (measure.split, measure.after, 'oracle' if measure.oracle else '')))
    return ' '.join(filter(None, (measure.metric, measure.unit, f'({remark})' if remark else '')))


def _cell(cell: Cell, unit: str, num_seeds: int) -> str:
    if cell.mean is None:
        return EMPTY_CELLS[cell.state]
    form = number_form(cell.mean, unit, percent_digits=2)
    seeds = '' if len(cell.values) == num_seeds else f', n = {len(cell.values)}'
    difference = '' if cell.difference is None else f' ({cell.difference:+{form}})'
    return spread_text(cell.mean, cell.std, form) + seeds + difference


def _total(comparison: Comparison, pipeline: str) -> str:
    sign = '>= ' if any(line.cells[pipeline].state == MISSING for line in comparison.times) else ''
    return sign + duration_text(comparison.total_seconds(pipeline))


def comparison_notes(comparison: Comparison) -> list[str]:
    """Returns what must be known to read the tables: what figures mean, and what is missing or left out."""
    lines = [*comparison.metrics, *comparison.classes]
    cells = [cell for line in lines for cell in line.cells.values()]
    notes = []
    if any(len(folders) > 1 for folders in comparison.pipelines.values()):
        notes.append('Several seeds: mean ± standard deviation (n - 1) over the seeds; n where not all have the '
                     'figure. Times are means over the seeds.')
    if any(cell.difference is not None for cell in cells):
        notes.append(f'In brackets: difference of the mean to that of {comparison.baseline}, percentages in points.')
    if any(line.measure.oracle for line in lines):
        notes.append('oracle: chosen on the ground truth that it is evaluated on, such as the best of all thresholds.')
    states = {cell.state for line in [*lines, *comparison.times] for cell in line.cells.values()}
    legend = {MISSING: 'missing: the stage is not complete', UNMEASURED: '-: not measured',
              ABSENT: 'empty: the pipeline has no such stage'}
    if said := '; '.join(text for state, text in legend.items() if state in states):
        notes.append(f'{said}.')
    notes += _time_notes(comparison)
    for name, folders in comparison.pipelines.items():
        for folder in folders:
            notes += [f'{name} ({folder.path}): {note}' for note in _folder_notes(comparison, name, folder)]
        notes += _pipeline_notes(name, folders)
    # The reason why a file was skipped may have several lines.
    return [' '.join(note.split()) for note in (*notes, *_image_notes(comparison))]


def _time_notes(comparison: Comparison) -> Iterator[str]:
    runs = [stage.runs for folders in comparison.pipelines.values() for folder in folders
            for stage in folder.stages.values() if stage.complete]
    if any(count is not None and count > 1 for count in runs):
        yield 'Wall time: of a stage that was interrupted, all its runs together.'
    if None in runs:
        yield 'Wall time: of a stage that was interrupted, from where it went on, where an earlier version has run it.'


def _folder_notes(comparison: Comparison, name: str, folder: WorkDirContent) -> Iterator[str]:
    unfinished = [stage for stage, found in folder.stages.items() if not found.complete]
    if unfinished:
        yield f'not complete (failed, interrupted, still running or deleted): {", ".join(unfinished)}.'
    if folder.rerun:
        yield ('stages were begun again since report.json was written, and the pipeline has not run to its end: '
               'figures of an earlier run may be among these.')
    elif not folder.finished and folder.planned:
        yield 'has not run to its end.'
    elif not folder.finished:
        yield ('has not run to its end (there is no report.json): every stage that only others have is called missing, '
               'even if this pipeline has none.')
    elif unknown := [stage for stage in comparison.stages if stage not in folder.stages
                     and comparison.status(name, folder, stage) == MISSING]:
        yield f'does not have what other seeds have: {", ".join(unknown)}.'


def _pipeline_notes(name: str, folders: Sequence[WorkDirContent]) -> Iterator[str]:
    stages = [(stage, found) for folder in folders for stage, found in folder.stages.items()]
    counts = Counter({stage: 0 for stage, _ in stages})
    for stage, found in stages:
        counts[stage] += len(found.skipped)
    if total := counts.total():
        path, reason = next(found.skipped[0] for _, found in stages if found.skipped)
        where = ', '.join(f'{stage} {count}' for stage, count in counts.items() if count)
        seeds = f' in {len(folders)} seeds together' if len(folders) > 1 else ''
        yield f'{name}: {total} files left out{seeds} ({where}), e.g. {path}: {reason}.'
    for stage, metric, reason in dict.fromkeys((stage, measure.metric, reason) for stage, found in stages
                                               for measure, reason in unmeasured_of(found).items()):
        yield f'{name}: {stage}: {metric} was not measured{": " if reason else ""}{reason}.'


def _image_notes(comparison: Comparison) -> Iterator[str]:
    """Figures of different images are not comparable, whatever their split is called."""
    for stage in dict.fromkeys(line.name for line in comparison.metrics):
        counts: dict[str, list[str]] = {}
        for name, folders in comparison.pipelines.items():
            reports = [folder.stages[stage].report for folder in folders if stage in folder.stages]
            found = [report.get('num_images', report.get('num_labels')) for report in reports]
            if known := sorted({count for count in found if isinstance(count, int)}):
                counts[name] = list(map(str, known))
        if len({count for known in counts.values() for count in known}) > 1:
            text = ', '.join(f'{name} {"/".join(known)}' for name, known in counts.items())
            yield f'{stage}: evaluated on different numbers of images ({text}), so these figures are not comparable.'


def comparison_markdown(comparison: Comparison) -> str:
    """Returns tables and notes in markdown."""
    parts = [f'## {TITLE}']
    for table in comparison_tables(comparison):
        parts += [f'### {table.title}', markdown_table(table.header, table.rows, table.align)]
    return '\n\n'.join([*parts, '\n'.join(f'- {note}' for note in comparison_notes(comparison))]) + '\n'


def rich_tables(table: TextTable, width: int) -> list[Table]:
    """Returns a table for a terminal: in several parts, each with some of the pipelines, if it is too wide for one.

    Args:
        table: The table.
        width: Columns of the terminal.
    """
    # Two spaces and a line for each column, and a line more.
    widths = [max(len(row[column]) for row in (table.header, *table.rows)) + 3 for column in range(len(table.header))]
    names = range(table.num_names)
    parts: list[list[int]] = [[]]
    for column in range(table.num_names, len(table.header)):
        if parts[-1] and sum(widths[i] for i in (*names, *parts[-1], column)) + 1 > width:
            parts.append([])
        parts[-1].append(column)
    return [_rich_table(table, [*names, *part], number) for number, part in enumerate(parts)]


def _rich_table(table: TextTable, columns: Sequence[int], number: int) -> Table:
    drawn = Table(title=Text(table.title + (', continued' if number else '')), title_justify='left')
    for column in columns:
        drawn.add_column(Text(table.header[column]), justify='right' if table.align[column] == 'r' else 'left')
    is_grouped = any(not row[0] for row in table.rows)
    for row in table.rows:
        if row[0] and is_grouped:
            drawn.add_section()
        # As Text, since a name in square brackets would be taken for a style.
        drawn.add_row(*(Text(row[column]) for column in columns))
    return drawn
