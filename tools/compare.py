"""Compares pipelines stage by stage: python tools/compare.py NAME=WORK_DIR NAME=WORK_DIR ... [--html table.html]."""
import argparse
from pathlib import Path

from rich.console import Console

from mmwsss.cli.run_cli import run_cli
from mmwsss.experiments.comparison.compare import Comparison
from mmwsss.experiments.comparison.compare_dirs import parse_sources
from mmwsss.experiments.comparison.compare_html import comparison_html
from mmwsss.experiments.comparison.compare_table import (
    comparison_markdown,
    comparison_notes,
    comparison_tables,
    rich_tables,
)
from mmwsss.utils.errors import EXIT_DONE, EXIT_OMISSIONS, UserError
from mmwsss.utils.fileio import write_bytes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Print one table of what the stages of several pipelines have measured, and one of their times',
        epilog='Exit code 3: the table is there, but a stage of a pipeline is missing in it.')
    parser.add_argument('work_dirs', nargs='+', metavar='[NAME=]WORK_DIR',
                        help='work folder of tools/run_pipeline.py; after NAME= also several, separated by commas, or '
                        "a pattern in quotes ('seam=work/seam_seed*'). Folders of one NAME are seeds of one pipeline")
    parser.add_argument('--baseline', metavar='NAME', help='what the others are compared with (default: the first)')
    parser.add_argument('--per-class', metavar='STAGE', help='also the IoU of every class, of this stage')
    parser.add_argument('--out', metavar='FILE.md', help='write the tables in markdown')
    parser.add_argument('--html', metavar='FILE.html', help='write a page with the tables and the pictures of the '
                        'pipelines, which needs no other file')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    for option, path, suffixes in (('--out', args.out, ('.md',)), ('--html', args.html, ('.html', '.htm'))):
        if path is not None and Path(path).suffix.lower() not in suffixes:
            raise UserError(f'{option} {path}: the name must end in {suffixes[0]}')
    comparison = Comparison(parse_sources(args.work_dirs), args.baseline, args.per_class)
    written = []
    for path, text in ((args.out, comparison_markdown), (args.html, comparison_html)):
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text(comparison).encode())
            written.append(f'written: {path}')
    console = Console()
    for table in comparison_tables(comparison):
        for part in rich_tables(table, console.width):
            console.print(part)
    print('\n'.join([*(f'- {note}' for note in comparison_notes(comparison)), *written]))
    return EXIT_OMISSIONS if comparison.is_incomplete else EXIT_DONE


if __name__ == '__main__':
    run_cli(main)
