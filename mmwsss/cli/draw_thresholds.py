"""``mmwsss draw thresholds``."""
import argparse

from mmwsss.cli.arguments import named_paths

DESCRIPTION = ('Draw the mIoU, or other figures, of several models over the background threshold into one picture; the '
               'points of the best mIoU are marked')
METRICS = ('mIoU', 'm_FN', 'm_FP', 'precision', 'recall', 'foreground_recall')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('reports', nargs='+', metavar='[NAME=]REPORT', help='json files of mmwsss eval --out, or '
                        'metrics.json of stages; NAME is what the legend says')
    parser.add_argument('--out', metavar='FILE', required=True, help='the picture (.png, .pdf or .svg)')
    parser.add_argument('--metric', nargs='+', choices=METRICS, default=['mIoU'], help='what is drawn, a panel each '
                        '(default: mIoU); m_FN is the mean of FN / TP over the classes (too small), m_FP that of FP / '
                        'TP (too large): the two are Fig. 6 of SEAM; foreground_recall is the share of the pixels of '
                        'objects where the map of their class is above the threshold')
    parser.add_argument('--alpha', action='store_true', help='over the exponent of the background (1 - max)^alpha of '
                        'AffinityNet and SEAM instead; an exponent and a threshold that make the same labels have the '
                        'same figures')
    parser.add_argument('--title', help='title of the picture')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.utils.errors import EXIT_DONE, UserError
    from mmwsss.utils.fileio import read_json
    from mmwsss.visualization.curve import plot_curves
    from mmwsss.visualization.plot import check_plot
    check_plot(args.out)
    reports = {}
    for name, path in named_paths(args.reports).items():
        try:
            report = read_json(path)
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f'{path}: cannot be read ({error}); name a json file of mmwsss eval --out') from error
        if report is None:
            raise UserError(f'{path}: no such report; name a json file of mmwsss eval --out')
        if not isinstance(report, dict):
            raise UserError(f'{path}: is no report of mmwsss eval --out; name another file')
        reports[name] = report
    plot_curves(reports, args.out, args.title, args.alpha, args.metric)
    print(f'{args.out}: {len(reports)} curves of {", ".join(args.metric)}')
    return EXIT_DONE
