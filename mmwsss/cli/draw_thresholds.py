"""``mmwsss draw thresholds``."""
import argparse

from mmwsss.cli.arguments import named_path

DESCRIPTION = 'Draw the mIoU of several models over the background threshold into one picture'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('reports', nargs='+', metavar='[NAME=]REPORT', help='json files of mmwsss eval --out, or '
                        'metrics.json of stages; NAME is what the legend says')
    parser.add_argument('--out', metavar='FILE', required=True, help='the picture (.png, .pdf or .svg)')
    parser.add_argument('--alpha', action='store_true', help='over the exponent of the background (1 - max)^alpha of '
                        'AffinityNet and SEAM instead; an exponent and a threshold that make the same labels have the '
                        'same mIoU')
    parser.add_argument('--title', help='title of the picture')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.utils.errors import EXIT_DONE, UserError
    from mmwsss.utils.fileio import read_json
    from mmwsss.visualization.curve import plot_curves
    reports = {}
    for argument in args.reports:
        name, path = named_path(argument)
        try:
            report = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(f'{path}: cannot be read ({error}); name a json file of mmwsss eval --out') from error
        if report is None:
            raise UserError(f'{path}: no such report; name a json file of mmwsss eval --out')
        if not isinstance(report, dict):
            raise UserError(f'{path}: is no report of mmwsss eval --out')
        if name in reports:
            raise UserError(f'{name}: is given twice; give another NAME=')
        reports[name] = report
    plot_curves(reports, args.out, args.title, args.alpha)
    print(f'{args.out}: {len(reports)} curves')
    return EXIT_DONE
