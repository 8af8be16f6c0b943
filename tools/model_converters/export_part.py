"""Writes a part of a model as a checkpoint of its own.

    python tools/model_converters/export_part.py SRC DST --part main_net

The MainNet of RCM and MAM then loads into the config of a plain CAM classifier, as does ``--part classifier`` of SEAM,
whose pixel correlation module stays behind.
"""
import argparse

from mmwsss.cli.run_cli import run_cli
from mmwsss.engine.checkpoint import export_part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', metavar='SRC', help='checkpoint of the whole model')
    parser.add_argument('dst', metavar='DST', help='checkpoint to write')
    parser.add_argument('--part', required=True, help='name of the part, e.g. main_net')
    args = parser.parse_args()
    count = export_part(args.src, args.dst, args.part)
    print(f'{args.dst}: written, {count} keys of {args.part}')


if __name__ == '__main__':
    run_cli(main)
