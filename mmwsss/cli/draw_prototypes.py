"""``mmwsss draw prototypes``."""
import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DESCRIPTION = ("Draw the cosine of every pair of class vectors that a training has learned: RCM's prototypes, of which "
               "those that never had a pixel are left out, and said, or the semantics of SLAMs' encoder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('checkpoint', metavar='CHECKPOINT',
                        help="checkpoint of a training with RCM (configs/rcm_mam), or of SLAMs' encoder or activation "
                             'network (configs/slams)')
    parser.add_argument('--out', metavar='FILE', required=True, help='the picture (.png, .pdf or .svg)')


def class_vectors(weights: 'dict[str, Tensor]') -> 'tuple[str, Tensor, Tensor] | None':
    """Finds the class vectors in the weights of a training.

    Args:
        weights: A state dict.

    Returns:
        What they are, the vectors (K x D, background first) and which of them learned anything (K, bool); None if
        there are none. The semantics of the encoder are rectified, as the encoder compares them.
    """
    if 'rcm.prototypes' in weights and 'rcm.seen' in weights:
        return 'prototypes', weights['rcm.prototypes'], weights['rcm.seen'].bool()
    for name in ('semantics.weight', 'encoder.semantics.weight'):
        if name in weights:
            vectors = weights[name].relu()
            return 'semantics', vectors, vectors.any(dim=1)
    return None


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.engine.checkpoint import extract_state_dict, load_checkpoint_file, trained_classes
    from mmwsss.utils.errors import EXIT_DONE, UserError
    from mmwsss.visualization.prototypes import cosine_matrix, mean_off_diagonal, plot_cosine_matrix
    checkpoint = load_checkpoint_file(args.checkpoint)
    found = class_vectors(extract_state_dict(checkpoint, args.checkpoint))
    if found is None:
        raise UserError(f'{args.checkpoint}: has no prototypes (rcm.prototypes) and no semantics (semantics.weight); '
                        "name the checkpoint of a training with RCM, not an exported MainNet, or of SLAMs' encoder")
    kind, vectors, seen = found
    names = ['background', *(trained_classes(checkpoint) or (f'class {k}' for k in range(len(vectors) - 1)))]
    unseen = [name for name, known in zip(names, seen.tolist()) if not known]
    if seen.sum() < 2:
        raise UserError(f'{args.checkpoint}: only {int(seen.sum())} of {len(names)} {kind} learned anything; train '
                        'longer' + (', or lower model.rcm.threshold' if kind == 'prototypes' else ''))
    known = [name for name, was_seen in zip(names, seen.tolist()) if was_seen]
    plot_cosine_matrix(vectors[seen], known, args.out, kind.capitalize())
    mean = mean_off_diagonal(cosine_matrix(vectors[seen]))
    print(f'{args.out}: {len(known)} {kind}, mean cosine of two {mean:.3f}'
          + (f'; never seen: {", ".join(unseen)}' if unseen else ''))
    return EXIT_DONE
