"""``mmwsss compare``."""
import argparse

DESCRIPTION = 'Print one table of what the stages of several pipelines have measured, and one of their times'
EPILOG = 'Exit code 3: the table is there, but a stage of a pipeline is missing in it.'
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('work_dirs', nargs='+', metavar='[NAME=]WORK_DIR',
                        help='work folder of mmwsss pipeline; after NAME= also several, separated by commas, or '
                        "a pattern in quotes ('seam=work/seam_seed*'). Folders of one NAME are seeds of one pipeline")
    parser.add_argument('--baseline', metavar='NAME', help='what the others are compared with (default: the first)')
    parser.add_argument('--per-class', metavar='STAGE', help='also the IoU of every class, of this stage')
    parser.add_argument('--out', metavar='FILE.md', help='write the tables in markdown')
    parser.add_argument('--html', metavar='FILE.html', help='write a page with the tables and the pictures of the '
                        'pipelines, which needs no other file')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.experiments.comparison.run_compare import compare
    return compare(args.work_dirs, args.baseline, args.per_class, args.out, args.html)
