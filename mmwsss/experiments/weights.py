"""Which weights the backbones of which config begin with."""
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mmwsss.experiments.options import closest
from mmwsss.utils.errors import UserError

# What names a config that no file is given for.
EVERY = ''


def parse_weights(arguments: Sequence[str] | None) -> str | dict[str, str] | None:
    """Reads ``--weights``: one file for all, or ``NAME=FILE ...``.

    Args:
        arguments: Words of the command line. A name with ``=`` in it that is a file is a file.

    Raises:
        UserError: For several files without names, or a name that is given twice.
    """
    if not arguments:
        return None
    named: dict[str, str] = {}
    for argument in arguments:
        name, sign, file = argument.partition('=')
        if not sign or Path(argument).is_file():
            if len(arguments) > 1:
                raise UserError(f'--weights {" ".join(arguments)}: give one file for all, or CONFIG=FILE for each')
            return argument
        if not name or not file or name in named:
            raise UserError(f'--weights {argument}: must be CONFIG=FILE, each CONFIG once')
        named[name] = file
    return named


def check_weights_option(weights: str | Path | Mapping[str, str | Path] | None, names: Collection[str],
                         ) -> dict[str, str]:
    """Returns {name: file}; a file for all stands under :data:`EVERY`.

    Args:
        weights: As :func:`parse_weights` returns it.
        names: Of configs, and of what else may be named.

    Raises:
        UserError: For an unknown name or a file that is missing.
    """
    if weights is None:
        return {}
    given = weights if isinstance(weights, Mapping) else {EVERY: weights}
    for name, file in given.items():
        if name != EVERY and name not in names:
            raise UserError(f'--weights {name}={file}: {name!r} is not one of the configs ({closest(name, names)})')
        if not Path(file).is_file():
            raise UserError(f'{file}: no such file of weights')
    return {name: str(file) for name, file in given.items()}


def weights_for(weights: Mapping[str, str], *names: str) -> str | None:
    """Returns the file for the first of some names that has one, or the one for all."""
    return next((weights[name] for name in (*names, EVERY) if name in weights), None)
