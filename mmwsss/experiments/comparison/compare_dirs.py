"""The work folders that are compared: which they are, and the order of their stages."""
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmwsss.utils.errors import UserError


def parse_sources(arguments: Iterable[str]) -> dict[str, list[Path]]:
    """Finds the folders that arguments of the command line name.

    Args:
        arguments: ``DIR``, a pipeline that is called as the folder, or as the shortest end of its path that no other
            ``DIR`` has (``A/run``); or ``NAME=DIR``, where ``DIR`` may also be several folders, separated by commas, or
            a pattern such as ``work/seam_seed*``. All folders of one ``NAME`` are seeds of one pipeline.

    Returns:
        {name of a pipeline: its folders}, in the order given.

    Raises:
        UserError: For two pipelines of one name, a folder that is given twice, or a pattern without folders.
    """
    sources: dict[str, list[Path]] = {}
    owners: dict[Path, str] = {}
    arguments = list(arguments)
    unnamed = [argument for argument in arguments if '=' not in argument or Path(argument).is_dir()]
    names = dict(zip(unnamed, shortest_names(unnamed)))
    for argument in arguments:
        if argument in names:
            name, folders = names[argument], [Path(argument)]
        else:
            name, _, value = argument.partition('=')
            folders = _find_folders(value, argument)
        is_clash = name in sources if argument in names else name in names.values()
        if is_clash and not any(folder.resolve() in owners for folder in folders):
            raise UserError(f'{argument}: another pipeline is called {name} too; give each folder a name, NAME=DIR '
                            '(folders of the same NAME are seeds of one pipeline)')
        if not name:
            raise UserError(f'{argument}: give it a name, NAME=DIR')
        for folder in folders:
            owner = owners.get(folder.resolve())
            if owner == name:
                raise UserError(f'{argument}: {folder} is given twice for {name}; a seed counts once')
            if owner is not None:
                raise UserError(f'{argument}: {folder} is given for {owner} too; '
                                'does a pattern match more than it should?')
            owners[folder.resolve()] = name
            sources.setdefault(name, []).append(folder)
    return sources


def shortest_names(paths: Sequence[str | Path]) -> list[str]:
    """Returns for each path its shortest end that no other path has: the last name, where that is enough."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]

    def shortest(own: tuple[str, ...]) -> str:
        others = [other for other in parts if other != own]
        for count in range(1, len(own) + 1):
            if all(other[-count:] != own[-count:] for other in others):
                break
        return '/'.join(own[-count:]).replace('//', '/')

    return [shortest(own) for own in parts]


def _find_folders(text: str, argument: str) -> list[Path]:
    if Path(text).is_dir() and text:
        return [Path(text)]
    folders: list[Path] = []
    for part in map(os.path.expanduser, text.split(',')):
        if not part:
            raise UserError(f'{argument}: a folder is missing after = or a comma')
        if Path(part).is_dir() or not any(letter in part for letter in '*?['):
            folders.append(Path(part))
            continue
        found = [Path(name) for name in sorted(glob.glob(part)) if Path(name).is_dir()]
        if not found:
            raise UserError(f'{argument}: no folder matches {part}')
        folders += found
    return folders


def merge_orders(orders: Sequence[Sequence[str]]) -> list[str]:
    """Merges lists into one that keeps the order of each, if there is such a one.

    Args:
        orders: Lists without duplicates. Where they contradict each other, the first is right; where they leave it
            open, what comes first in an earlier list comes first.

    Returns:
        Every item once.
    """
    rests, merged = [list(order) for order in orders], []
    while rests := [rest for rest in rests if rest]:
        heads = [rest[0] for rest in rests]
        free = [head for head in heads if not any(head in rest[1:] for rest in rests)]
        merged.append((free or heads)[0])
        rests = [[item for item in rest if item != merged[-1]] for rest in rests]
    return merged
