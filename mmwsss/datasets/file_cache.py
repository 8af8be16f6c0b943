"""What was found out about files is kept, so that unchanged files are not read again by the next run."""
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mmengine.logging import print_log

from mmwsss.utils.fileio import sha256_of_json, write_bytes

CACHE_VARIABLE = 'MMWSSS_CACHE'
DEFAULT_CACHE = '~/.cache/mmwsss/preflight'
_warned_folders: set[str] = set()
_Found = TypeVar('_Found')
_Stamp = tuple[int, int]


def cached(paths: Sequence[str], name: str, version: str, find: Callable[[list[str]], list[_Found]],
           to_json: Callable[[_Found], list[Any] | None],
           from_json: Callable[[list[Any]], _Found]) -> dict[str, _Found]:
    """Finds something out about files; what is known from an earlier run of a file that is unchanged is taken over.

    Results are kept in one json file per name and list of paths, in the folder that the environment variable
    ``MMWSSS_CACHE`` names (default ``~/.cache/mmwsss/preflight``), each with size and mtime of its file.

    Args:
        paths: The files.
        name: What is found out; the name of the json file begins with it.
        version: Entries of another version do not count.
        find: Gets the files of which nothing is known.
        to_json: Turns a result into json values; ``None``: it is not kept.
        from_json: The inverse; may raise ValueError or TypeError on a damaged entry.

    Returns:
        Path -> what was found.
    """
    absolute = {path: os.path.abspath(path) for path in paths}
    cache_path = _cache_path(sorted(absolute.values()), name)
    cache = _read_cache(cache_path, version, from_json)
    stamps = {path: _stamp(path) for path in paths}
    known = {path: cache[absolute[path]][1] for path in paths
             if absolute[path] in cache and cache[absolute[path]][0] == stamps[path]}
    unknown = [path for path in dict.fromkeys(paths) if path not in known]
    if unknown:
        known.update(zip(unknown, find(unknown)))
        kept = {absolute[path]: [*stamps[path], *values] for path, found in known.items()
                if stamps[path] is not None and (values := to_json(found)) is not None}
        _write_cache(cache_path, dict(format=version, files=kept))
    return {path: known[path] for path in absolute}


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _cache_path(paths: list[str], name: str) -> Path:
    folder = os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE
    return Path(os.path.expanduser(folder)) / f'{name}-{sha256_of_json(paths)[:32]}.json'


def _read_cache(path: Path, version: str,
                from_json: Callable[[list[Any]], _Found]) -> dict[str, tuple[_Stamp, _Found]]:
    try:
        content = json.loads(path.read_bytes())
        if content['format'] != version:
            return {}
        return {name: ((int(size), int(mtime)), from_json(values))
                for name, (size, mtime, *values) in content['files'].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # no cache, or a damaged one: everything is found out again


def _write_cache(path: Path, content: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(content).encode())
    except OSError as error:
        if str(path.parent) not in _warned_folders:
            _warned_folders.add(str(path.parent))
            print_log(f'{path.parent}: cannot be written ({error.strerror}), so every file is checked again in the '
                      f'next run; name another folder in {CACHE_VARIABLE}', 'current', level=logging.WARNING)
