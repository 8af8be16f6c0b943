"""Comparing the work folders of pipelines, from the arguments of the command line to its exit code."""
from collections.abc import Iterable
from pathlib import Path

from mmwsss.experiments.comparison.compare import Comparison
from mmwsss.experiments.comparison.compare_dirs import parse_sources
from mmwsss.experiments.comparison.compare_html import comparison_html
from mmwsss.experiments.comparison.compare_table import (
    comparison_markdown,
    comparison_notes,
    comparison_tables,
    rich_tables,
)
from mmwsss.utils.console import make_console
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError
from mmwsss.utils.fileio import write_bytes


def compare(work_dirs: Iterable[str], baseline: str | None = None, per_class: str | None = None,
            out: str | Path | None = None, html: str | Path | None = None) -> int:
    """Writes and prints one table of what the stages of several pipelines have measured, and one of their times.

    Args:
        work_dirs: ``[NAME=]WORK_DIR``, see :func:`mmwsss.experiments.comparison.compare_dirs.parse_sources`.
        baseline: The name of the pipeline that the others are compared with; default the first.
        per_class: A stage whose IoU of every class is shown too.
        out: A ``.md`` file to write the tables to.
        html: A ``.html`` file to write a page with tables and pictures to.

    Returns:
        The exit code: done, or done without files that were left out where a stage of a pipeline is missing.

    Raises:
        UserError: See :class:`Comparison`; also for a file of another suffix.
    """
    for option, path, suffixes in (('--out', out, ('.md',)), ('--html', html, ('.html', '.htm'))):
        if path is not None and Path(path).suffix.lower() not in suffixes:
            raise UserError(f'{option} {path}: the name must end in {suffixes[0]}')
    comparison = Comparison(parse_sources(work_dirs), baseline, per_class)
    written = []
    for path, text in ((out, comparison_markdown), (html, comparison_html)):
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text(comparison).encode())
            written.append(f'written: {path}')
    console = make_console()
    for table in comparison_tables(comparison):
        for part in rich_tables(table, console.width):
            console.print(part)
    print('\n'.join([*(f'- {note}' for note in comparison_notes(comparison)), *written]))
    return EXIT_SKIPPED if comparison.is_incomplete else EXIT_DONE
