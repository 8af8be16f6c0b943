"""Folders of files that were all made with the same settings."""
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import nearest_existing, remove_leftovers, write_json

MANIFEST_NAME = 'manifest.json'


def differing_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], groups: Sequence[str] = ()) -> list[str]:
    """Returns the names of the wanted settings that others have been found for.

    Args:
        found: The settings found.
        wanted: The settings wanted.
        groups: Settings that are dicts of settings: those inside are named, what one of them lacks included.
    """
    names = []
    for key, value in wanted.items():
        other = found.get(key)
        if key in groups and isinstance(other, Mapping):
            names += [name for name in sorted({*value, *other}) if value.get(name) != other.get(name)]
        elif other != value:
            names.append(key)
    return names


class SettingsFolder:
    """A folder with a ``manifest.json``, which says with which settings its files were made.

    Files of other settings are never mixed in, and files of unknown origin never taken over.

    Args:
        path: The folder.
        settings: What the files depend on; values that json does not know count as text.
        files: What the files are called in messages, e.g. ``'labels'``.
        suffix: Suffix of the files; ``None``: any file that is not hidden counts.
        option: The command line option that names the folder, for messages.
        binds_when_empty: Whether a manifest without any file still forbids other settings.
        read: Reads the manifest and raises UserError if it cannot; default any json object.
        groups: See :func:`differing_settings`.
        difference: How the names of settings that differ are written in the message.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any], files: str, suffix: str | None = None,
                 option: str = '', binds_when_empty: bool = True,
                 read: Callable[[Path], Mapping[str, Any]] | None = None, groups: Sequence[str] = (),
                 difference: str = '({})') -> None:
        self.path = Path(path)
        # As json will give them back, so that settings equal themselves once read.
        self.settings = _as_json(settings)
        self.files, self.suffix, self.option = files, suffix, option and f' ({option})'
        self.binds_when_empty = binds_when_empty
        self.read = read or self._read
        self.groups, self.difference = groups, difference

    @property
    def manifest(self) -> Path:
        """The file that holds the settings."""
        return self.path / MANIFEST_NAME

    def check(self) -> bool:
        """Checks that the folder can be used, and changes nothing.

        Returns:
            Whether it is new, and has nothing of these settings yet.

        Raises:
            UserError: If it is no folder, has files and no readable manifest, or files of other settings.
        """
        if not nearest_existing(self.path).is_dir():
            raise UserError(f'{self.path}: is a file or lies in one, so it is not a folder; choose another one for the '
                            f'{self.files}{self.option}')
        # In this order: another process may be at work, and writes the manifest before its first file.
        has_files = self._has_files()
        if not self.manifest.exists():
            if has_files:
                raise UserError(f'{self.path}: has {(self.suffix or "").lstrip(".")}{" " if self.suffix else ""}files '
                                f'but no {MANIFEST_NAME}, so it is not known how they were made; choose another folder '
                                f'for the {self.files}{self.option}')
            return True
        if not has_files and not self.binds_when_empty:
            return True
        if names := differing_settings(_as_json(self.read(self.manifest)), self.settings, self.groups):
            raise UserError(f'{self.manifest}: the {self.files} there were made from something else, or with other '
                            f'settings {self.difference.format(", ".join(names))}; choose another folder{self.option}, '
                            'or delete this one to make them again')
        return False

    def open(self) -> bool:
        """Checks the folder, makes it and its manifest where they are missing, and removes what killed processes left.

        Every rank may call it at the same time.

        Returns:
            See :meth:`check`.
        """
        is_new = self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        if is_new:
            write_json(self.manifest, self.settings)
        remove_leftovers(self.path, recursive=True)
        return is_new

    def _has_files(self) -> bool:
        if self.suffix is not None:
            return next(self.path.rglob(f'*{self.suffix}'), None) is not None
        # Hidden ones are what a killed run leaves.
        return any(not path.name.startswith('.') and path.name != MANIFEST_NAME for path in self.path.glob('*'))

    def _read(self, path: Path) -> Mapping[str, Any]:
        try:
            found = json.loads(path.read_bytes())
            problem = None if isinstance(found, dict) else 'it holds no settings'
        except (OSError, ValueError, RecursionError) as error:
            problem = error
        if problem:
            raise UserError(f'{path}: cannot be read ({problem}); delete the folder or choose another one{self.option}')
        return found


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(settings, default=str))
