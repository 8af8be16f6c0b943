"""``mmwsss draw curves``."""
import argparse

from mmwsss.cli.arguments import named_paths

DESCRIPTION = 'Plot what trainings have logged over their steps: losses, learning rates, figures of the validation'
NEEDS_SETUP = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('work_dirs', metavar='[NAME=]WORK_DIR', nargs='+',
                        help='work folders of trainings, or their scalars.json; NAME is in the legend')
    parser.add_argument('--out', metavar='FILE', required=True, help='the picture (.png, .pdf or .svg)')
    parser.add_argument('--keys', nargs='+', metavar='KEY', default=['loss'],
                        help='what to plot, e.g. loss loss_cls lr; one that was not logged is answered with a list of '
                        'those that were (default: loss)')
    parser.add_argument('--title', metavar='TEXT', help='title of the picture')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.utils.errors import EXIT_DONE
    from mmwsss.visualization.plot import check_plot
    from mmwsss.visualization.training_curves import plot_curves, read_scalars
    check_plot(args.out)
    trainings = {name: read_scalars(path) for name, path in named_paths(args.work_dirs).items()}
    plot_curves(trainings, args.out, args.keys, args.title)
    noun = 'training' if len(trainings) == 1 else 'trainings'
    print(f'{args.out}: {", ".join(args.keys)} of {len(trainings)} {noun}')
    return EXIT_DONE
