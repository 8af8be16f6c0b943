"""Finding configs by their name in the package, so that a user needs no checkout."""
import difflib
from collections.abc import Iterator
from pathlib import Path

from mmwsss.utils.errors import UserError

PACKAGE = Path(__file__).parents[1]
# Their names are those of other configs: one is asked for by who runs it. What such a config is, and
# its command.
OWN_COMMANDS = {'pipelines': 'pipeline', 'studies': 'study'}
BASE = '_base_'


def config_folder() -> Path:
    """Returns the folder of the configs that come with the package.

    It is ``.mim/configs`` of an installed package, which in a checkout is a link to its ``configs``.

    Raises:
        UserError: If there is none.
    """
    for folder in (PACKAGE / '.mim' / 'configs', PACKAGE.parent / 'configs'):
        if (folder / BASE).is_dir():
            return folder.resolve()
    raise UserError(f'{PACKAGE}: was installed without its configs; name a config by its path, or install mmwsss again')


def list_configs(folder: str | None = None) -> list[str]:
    """Lists the configs of the package.

    Args:
        folder: Only those of this folder, e.g. ``'pipelines'``; ``None``: all but what only other configs inherit.

    Returns:
        Names such as ``'cam/cam_efflite0_small.py'``, in order.

    Raises:
        UserError: If there is no such folder.
    """
    root = config_folder()
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name != BASE)
    if folder is not None and not (root / folder).is_dir():
        raise UserError(f'{folder}: no such folder of configs; there are {", ".join(folders)}')
    names = [path.relative_to(root).as_posix() for name in ([folder] if folder else folders)
             for path in sorted((root / name).glob('*.py'))]
    return names


def find_config(name: str | Path, folder: str | None = None) -> Path:
    """Finds a config.

    Args:
        name: The path of a file, or a name in the package: ``.mim/configs/cam/cam_efflite0_small.py``,
            ``mmwsss::cam/cam_efflite0_small.py``, ``cam/cam_efflite0_small.py``, ``cam_efflite0_small``.
        folder: Where a bare name is looked for: ``'pipelines'``, ``'studies'``; ``None``: in all but these two.

    Returns:
        The path of the file.

    Raises:
        UserError: If there is none, or several have this name.
    """
    path = Path(name)
    if path.is_file():
        return path
    inside = path.as_posix().removeprefix('mmwsss::')
    for prefix in ('mmwsss/', '.mim/', 'configs/'):
        inside = inside.removeprefix(prefix)
    if not path.is_absolute() and '..' not in path.parts:
        found = list(_candidates(inside, folder))
        if len(found) == 1:
            return found[0]
        if found:
            root = config_folder()
            names = ', '.join(file.relative_to(root).as_posix() for file in found)
            raise UserError(f'{name}: is the name of several configs ({names}); name one with its folder')
    if other := _of_another_command(inside, folder):
        raise UserError(f'{name}: {other}')
    known = {Path(known).stem for known in list_configs(folder)
             if folder is not None or Path(known).parent.name not in OWN_COMMANDS}
    close = difflib.get_close_matches(Path(inside).stem, known, n=1)
    hint = f' (closest name in the package: {close[0]})' if close else ''
    raise UserError(f'{name}: no such config file, and no such name among those that `mmwsss configs` lists{hint}')


def _of_another_command(name: str, folder: str | None) -> str | None:
    """Says what a name stands for where another folder than the one asked for has it."""
    if '/' in name or folder not in (None, *OWN_COMMANDS):
        return None
    for other, kind in OWN_COMMANDS.items():
        if other != folder and any(_candidates(name, other)):
            return f'is a {kind}; use mmwsss {kind}'
    is_for_training = folder is not None and any(_candidates(name, None))
    return f'is a training config and no {OWN_COMMANDS[folder]}; use mmwsss train' if is_for_training else None


def _candidates(name: str, folder: str | None) -> Iterator[Path]:
    root = config_folder()
    file = name if name.endswith('.py') else f'{name}.py'
    if '/' in file:
        folders = ['', *([folder] if folder else [])]
    elif folder:
        folders = [folder]
    else:
        folders = sorted(path.name for path in root.iterdir() if path.name not in (BASE, *OWN_COMMANDS))
    for parent in folders:
        if (root / parent / file).is_file():
            yield root / parent / file
