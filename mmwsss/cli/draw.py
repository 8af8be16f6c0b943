"""``mmwsss draw``: pictures of what happens inside a method."""
import argparse

from mmwsss.cli.main import fill_parser, load_command

DESCRIPTION = 'Draw CAMs, loss curves, confusion matrices, affinities, prototypes, or conflicts of labels and saliency'
COMMANDS = {
    'cam': 'the CAMs of a data set over their images',
    'curves': 'losses, learning rates and figures of trainings over their steps',
    'confusion': 'which classes label maps take for which',
    'affinity': 'what PCM, or the features of a stage, take as similar to some points of an image',
    'thresholds': 'mIoU, m_FN and m_FP of several models over the threshold, or over the exponent of the background',
    'prototypes': "how alike RCM's prototypes of the classes are",
    'saliency-conflict': 'where pseudo labels and saliency maps conflict',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the pictures as sub-commands."""
    subparsers = parser.add_subparsers(metavar='PICTURE', required=True)
    for name, text in COMMANDS.items():
        fill_parser(subparsers.add_parser(name, help=text), load_command(f'draw {name}'))
