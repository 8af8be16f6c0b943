"""mmwsss: weakly supervised semantic segmentation on MMSegmentation / MMEngine.

Importing the package, or any part of it, changes nothing outside of it: :func:`setup` does, which whatever runs
something calls first (the command ``mmwsss``, the functions of :mod:`mmwsss.apis`). The stack underneath is imported,
and its versions are checked, with :mod:`mmwsss.registry`.
"""
from importlib import import_module
from typing import Any

from mmwsss.version import __version__

__all__ = ['__version__', 'registry', 'setup']


def setup() -> None:
    """Prepares this process for training and inference, see :func:`mmwsss.engine.setup.setup`.

    A script of your own that builds MMEngine's ``Runner`` itself calls it at its start, before it imports torch.
    """
    import_module('mmwsss.utils.threads').wait_passively()  # the rest imports torch
    import_module('mmwsss.engine.setup').setup()


def __getattr__(name: str) -> Any:
    # `mmwsss.registry` without an import of its own, as ever; it imports torch and mmseg.
    if name == 'registry':
        return import_module('mmwsss.registry')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
