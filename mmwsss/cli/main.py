"""The command ``mmwsss``: finds the module of a sub-command, reads its arguments, runs it.

A module of a sub-command has ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(args)``, which returns an exit code.
It imports what it runs with in ``run``, so that ``--help`` answers before torch is imported.
"""
import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

from mmwsss.cli.run_cli import run_cli
from mmwsss.utils.threads import wait_passively
from mmwsss.version import __version__

COMMANDS = {
    'train': 'train a model: a CAM classifier, an affinity model, a segmentor',
    'test': 'test a checkpoint with the evaluators of its config',
    'predict': 'apply a trained model to images: CAMs and labels of a classifier, masks of a segmentor',
    'export': 'write a trained model as a folder to predict with, or as an ONNX file',
    'cam': 'make the CAM files of a data set',
    'refine': 'refine CAM files by a trained AffinityNet or IRNet',
    'eval': 'evaluate CAM files or label files on ground truth masks',
    'label': 'make pseudo labels from CAM files',
    'saliency': 'make saliency maps',
    'pipeline': 'run all stages of a method, from photographs to a segmentor',
    'study': 'run an ablation study',
    'compare': 'compare pipelines by their work folders',
    'report': 'write a page on pipelines: curves, classes, and a gallery with a threshold slider',
    'demo': 'run a pipeline on generated pictures, or on your data',
    'configs': 'list the configs that come with mmwsss',
    'convert': 'convert a checkpoint or a data set of another project',
    'browse': 'draw what a training gets: images after augmentation, with their labels',
    'draw': 'draw CAMs, loss curves, confusion matrices, affinities, prototypes, conflicts of labels and saliency',
}
EPILOG = 'Exit codes: 0 done, 1 failed (one line says why), 3 done, but something was left out.'


def load_command(name: str) -> ModuleType:
    """Imports the module of a sub-command; ``'draw affinity'`` is ``mmwsss.cli.draw_affinity``."""
    return import_module(f'mmwsss.cli.{name.replace("-", "_").replace(" ", "_")}')


def fill_parser(parser: argparse.ArgumentParser, command: ModuleType) -> argparse.ArgumentParser:
    """Adds the arguments of a sub-command to its parser."""
    parser.description = command.DESCRIPTION
    parser.epilog = getattr(command, 'EPILOG', None)
    command.add_arguments(parser)
    parser.set_defaults(_command=command)
    return parser


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Returns the parser of the command; of its sub-commands only the one in ``arguments`` is imported."""
    parser = argparse.ArgumentParser(
        prog='mmwsss', description='Weakly supervised semantic segmentation: from image-level labels to masks',
        epilog=f'{EPILOG} `mmwsss COMMAND --help` has the arguments of a command.')
    parser.add_argument('--version', action='version', version=f'mmwsss {__version__}')
    subparsers = parser.add_subparsers(metavar='COMMAND', required=True)
    add_subcommands(subparsers, COMMANDS, arguments)
    return parser


def add_subcommands(subparsers: argparse._SubParsersAction, commands: dict[str, str], arguments: Sequence[str],
                    prefix: str = '') -> None:
    """Adds sub-commands by name and help; the one that ``arguments`` begin with gets its arguments."""
    chosen = next((word for word in arguments if not word.startswith('-')), None)
    for name, text in commands.items():
        subparser = subparsers.add_parser(name, help=text)
        if name == chosen:
            fill_parser(subparser, load_command(prefix + name))


def execute(args: argparse.Namespace) -> int | None:
    """Runs the sub-command that arguments were read for."""
    command = args._command
    if getattr(command, 'NEEDS_SETUP', True):
        wait_passively()
        from mmwsss.engine.setup import setup
        setup()
        from mmwsss.engine.logged_runner import PROGRESS, console_shows
        with console_shows(PROGRESS):
            return command.run(args)
    return command.run(args)


def tool(name: str) -> Callable[[], int | None]:
    """Returns the ``main`` of a script of its own that does what ``mmwsss NAME`` does.

    Args:
        name: Name of the sub-command, e.g. ``'train'`` or ``'draw affinity'``.
    """
    def main() -> int | None:
        """Reads the arguments of the process and runs the command; returns its exit code."""
        return execute(fill_parser(argparse.ArgumentParser(), load_command(name)).parse_args())
    return main


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits the process.

    Args:
        arguments: The words after ``mmwsss``; default: those that the process was started with.

    Raises:
        SystemExit: Always, with the exit code.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    run_cli(lambda: execute(make_parser(arguments).parse_args(arguments)))
