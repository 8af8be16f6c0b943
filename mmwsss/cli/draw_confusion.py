"""``mmwsss draw confusion``."""
import argparse

from mmwsss.cli.arguments import add_num_workers
from mmwsss.cli.data import add_data_arguments, add_split

DESCRIPTION = ('Plot which classes the label maps of a folder take for which: of the pixels of each class in the masks '
               'the percentage predicted as each class')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('label_dir', metavar='LABEL_DIR', help='folder of label maps: pseudo labels, or predictions')
    parser.add_argument('--out', metavar='FILE', required=True, help='the picture (.png, .pdf or .svg)')
    parser.add_argument('--missing', choices=('error', 'skip'), default='error',
                        help='what a missing label map is (default: %(default)s)')
    add_split(parser, 'all images')
    add_data_arguments(parser, required=True, root_help='folder of the data set, with masks')
    add_num_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.apis.evaluation import label_confusion
    from mmwsss.cli.data import data_folder
    from mmwsss.utils.errors import EXIT_DONE
    from mmwsss.visualization.confusion import plot_confusion, row_shares
    from mmwsss.visualization.plot import check_plot
    check_plot(args.out)
    confusion, names = label_confusion(args.label_dir, data_folder(args), args.split, args.num_workers, args.missing)
    plot_confusion(confusion, names, args.out)
    shares = row_shares(confusion)
    wrong = [(shares[i, j], names[i], names[j]) for i in range(len(names)) for j in range(len(names))
             if i != j and shares[i, j] > 0]
    most = ', '.join(f'{name} as {other} {100 * share:.0f} %' for share, name, other in sorted(wrong, reverse=True)[:3])
    print(f'{args.out}: {len(names)} classes' + (f'; most taken for another: {most}' if most else ''))
    return EXIT_DONE
