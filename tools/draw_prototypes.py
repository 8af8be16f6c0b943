"""Draws how alike RCM's prototypes of the classes are: python tools/draw_prototypes.py CHECKPOINT --out picture.png."""
import argparse

from mmwsss.cli.run_cli import run_cli
from mmwsss.engine.checkpoint import extract_state_dict, load_checkpoint_file, trained_classes
from mmwsss.utils.errors import UserError
from mmwsss.visualization.prototypes import cosine_matrix, mean_off_diagonal, plot_cosine_matrix


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the cosine of every pair of prototypes that a training with RCM '
                                                 'has kept; classes that never had a pixel are left out, and said')
    parser.add_argument('checkpoint', help='checkpoint of a training with RCM (configs/rcm_mam)')
    parser.add_argument('--out', required=True, help='the picture (.png, .pdf or .svg)')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    checkpoint = load_checkpoint_file(args.checkpoint)
    weights = extract_state_dict(checkpoint, args.checkpoint)
    if 'rcm.prototypes' not in weights or 'rcm.seen' not in weights:
        raise UserError(f'{args.checkpoint}: has no prototypes (rcm.prototypes); name the checkpoint of a training '
                        'with RCM, not an exported MainNet')
    prototypes, seen = weights['rcm.prototypes'], weights['rcm.seen'].bool()
    names = ['background', *(trained_classes(checkpoint) or (f'class {k}' for k in range(len(prototypes) - 1)))]
    unseen = [name for name, known in zip(names, seen.tolist()) if not known]
    if seen.sum() < 2:
        raise UserError(f'{args.checkpoint}: only {int(seen.sum())} of {len(names)} prototypes ever had a pixel; train '
                        'longer, or lower model.rcm.threshold')
    known = [name for name, was_seen in zip(names, seen.tolist()) if was_seen]
    plot_cosine_matrix(prototypes[seen], known, args.out, 'Prototypes')
    mean = mean_off_diagonal(cosine_matrix(prototypes[seen]))
    print(f'{args.out}: {len(known)} prototypes, mean cosine of two {mean:.3f}'
          + (f'; never seen: {", ".join(unseen)}' if unseen else ''))
    return 0


if __name__ == '__main__':
    run_cli(main)
