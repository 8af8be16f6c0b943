"""Arguments that several commands share."""
import argparse
from collections.abc import Sequence
from pathlib import Path

from mmwsss.cli.data import add_data_arguments
from mmwsss.config.cfg_options import CfgOptions

AMP_TYPES = ('bfloat16', 'float16')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that every command with the config of a model takes: data, options, launcher."""
    add_data_arguments(parser, required=False, root_help="folder of the data set; replaces the config's data_root")
    add_cfg_options(parser, 'settings that override the config, e.g. train_cfg.max_epochs=5')
    add_launcher(parser)


def add_config(parser: argparse.ArgumentParser, what: str = 'a config') -> None:
    """Adds the argument CONFIG."""
    parser.add_argument('config', metavar='CONFIG', help=f'{what}: its path, or its name as `mmwsss configs` lists it')


def add_cfg_options(parser: argparse.ArgumentParser, help: str) -> None:
    """Adds ``--cfg-options``."""
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, metavar='KEY=VALUE', help=help)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds ``--weights``, see :func:`mmwsss.experiments.weights.parse_weights`."""
    parser.add_argument('--weights', nargs='+', metavar='[CONFIG=]FILE', help='ImageNet weights for the backbones, '
                        'instead of those of the configs: one file for all, or one for each')


def add_auto_scale_lr(parser: argparse.ArgumentParser, whose: str = '') -> None:
    """Adds ``--auto-scale-lr``.

    Args:
        parser: The command.
        whose: Which trainings it is about, where there are several.
    """
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help=f'{whose}take the batch size for that of each process, and multiply the learning rate by '
                        "the images of a step over the config's auto_scale_lr.base_batch_size (default: the batch size "
                        'that the config file has)')


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Adds ``--launcher``."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how the processes of a distributed run were started')
    # torch.distributed.launch passes it; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_amp(parser: argparse.ArgumentParser) -> None:
    """Adds ``--amp TYPE`` of inference."""
    parser.add_argument('--amp', choices=AMP_TYPES, help='autocast the forward passes to this type')


def add_num_workers(parser: argparse.ArgumentParser, what: str = 'processes') -> None:
    """Adds ``--num-workers``."""
    parser.add_argument('--num-workers', type=int, metavar='N', help=f'{what}; default one per CPU, 0 = none')


def named_path(word: str) -> tuple[str, str]:
    """Reads ``[NAME=]PATH``; the name of a path without one is the path.

    Args:
        word: What was given. A file or folder of this name is taken for a path, also with ``=`` in it.

    Returns:
        Name and path.
    """
    name, sign, path = word.partition('=')
    return (word, word) if not sign or Path(word).exists() else (name or path, path)


def named_paths(words: Sequence[str]) -> dict[str, str]:
    """Reads several ``[NAME=]PATH``, see :func:`named_path`.

    Args:
        words: What was given.

    Returns:
        Name -> path, in their order.

    Raises:
        UserError: If a name is given twice.
    """
    from mmwsss.utils.errors import UserError
    found: dict[str, str] = {}
    for name, path in map(named_path, words):
        if name in found:
            raise UserError(f'{name}: is given twice; give another NAME=')
        found[name] = path
    return found
