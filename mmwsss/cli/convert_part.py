"""``mmwsss convert part``."""
import argparse

DESCRIPTION = ('Write a part of a model as a checkpoint of its own. The MainNet of RCM and MAM (--part main_net) then '
               'loads into the config of a plain CAM classifier, as does --part classifier of SEAM, whose pixel '
               'correlation module stays behind.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('src', metavar='SRC', help='checkpoint of the whole model')
    parser.add_argument('dst', metavar='DST', help='checkpoint to write')
    parser.add_argument('--part', required=True, help='name of the part, e.g. main_net')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.engine.checkpoint import export_part
    from mmwsss.utils.errors import EXIT_DONE
    count = export_part(args.src, args.dst, args.part)
    print(f'{args.dst}: written, {count} keys of {args.part}')
    return EXIT_DONE
