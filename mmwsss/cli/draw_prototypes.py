"""``mmwsss draw prototypes``."""
import argparse

DESCRIPTION = ('Draw the cosine of every pair of prototypes that a training with RCM has kept; classes that never had '
               'a pixel are left out, and said')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('checkpoint', metavar='CHECKPOINT',
                        help='checkpoint of a training with RCM (configs/rcm_mam)')
    parser.add_argument('--out', metavar='FILE', required=True, help='the picture (.png, .pdf or .svg)')


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.engine.checkpoint import extract_state_dict, load_checkpoint_file, trained_classes
    from mmwsss.utils.errors import EXIT_DONE, UserError
    from mmwsss.visualization.prototypes import cosine_matrix, mean_off_diagonal, plot_cosine_matrix
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
    return EXIT_DONE
