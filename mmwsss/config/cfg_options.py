"""``KEY=VALUE`` of the command line: read without knowing the config, then given the type that the config's option has.

Nothing heavy is imported before an option is read, so that ``--help`` answers at once.
"""
import argparse
import inspect
import os
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmwsss.utils.errors import UserError

# What an annotation may say that a text on the command line can be turned into.
_SCALARS = (str, int, float, bool, type(None))
_PATHS = (os.PathLike, Path)
_SEQUENCES = (list, tuple, Sequence, Iterable)
_WORDS = {str: 'text', int: 'a whole number', float: 'a number', bool: 'true or false', list: 'a list (A,B)'}


class ParsedOptions(dict):
    """Options with dotted keys, as MMEngine's ``DictAction`` reads them: ``2007`` is a number, ``a,b`` a list.

    Attributes:
        texts: What was written, by key; :func:`fit_value` reads it anew once it is known what the option takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}


class CfgOptions(argparse.Action):
    """``KEY=VALUE ...`` of ``--cfg-options`` as :class:`ParsedOptions`; other words end as argparse's mistakes do."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list[str],
                 option_string: str | None = None) -> None:
        """Puts the options into the namespace, beside those of an earlier ``--cfg-options``."""
        from mmengine.config import DictAction
        options = getattr(namespace, self.dest, None) or ParsedOptions()
        try:
            for value in values:
                key, text = value.split('=', maxsplit=1)
                options[key], options.texts[key] = DictAction._parse_iterable(text), text
        except (ValueError, AssertionError) as error:
            parser.error(f'{option_string} {" ".join(values)}: must be KEY=VALUE, with closed brackets ({error})')
        except RecursionError:
            parser.error(f'{option_string} {" ".join(values)}: a VALUE is of numbers, words, lists and tuples; for '
                         'anything else, such as dicts, write a config that inherits this one')
        setattr(namespace, self.dest, options)


def fit_value(key: str, value: Any, text: str, current: Any, owner: Any = None) -> Any:
    """Gives a value of the command line the type that its option has.

    Args:
        key: Dotted name of the option, for the error.
        value: The text as ``DictAction`` reads it.
        text: The text itself.
        current: The value in the config; ``None``: none.
        owner: The class or function that takes the option, or {name: annotation}. Without an annotation, or where it
            says nothing that helps, the type of ``current`` counts.

    Returns:
        The value: the text itself for an option that takes text, a list of one for one that takes a list.

    Raises:
        UserError: If the option takes something else.
    """
    name = key.rpartition('.')[2]
    kinds, elements = _annotated(owner, name)
    sure = bool(kinds)
    if not kinds and current is not None and not isinstance(current, dict):
        kinds = {list if isinstance(current, (list, tuple)) else type(current)}
        items = current if isinstance(current, (list, tuple)) else ()
        elements = {type(item) for item in items}
        if not kinds <= {str, int, float, bool, list}:
            return value
    if not kinds:
        return value
    plain = text.strip('\'"')
    if value is None:
        # "None" switches an option off; of one that only takes text, it is a word.
        fits = type(None) in kinds or not sure
        return value if fits else _refuse(key, text, kinds)
    if isinstance(value, (list, tuple)):
        if list in kinds:
            return type(value)(_texts(plain)) if elements == {str} else value
        if str in kinds and (sure or plain[:1] not in '[('):
            return plain
        # A config may hold one value where its part also takes several.
        return value if not sure and kinds & {int, float, str} else _refuse(key, text, kinds)
    if type(value) in kinds and not isinstance(value, str):
        return value
    if isinstance(value, bool):
        return plain if str in kinds else _refuse(key, text, kinds)
    if isinstance(value, (int, float)):
        if isinstance(value, int) and float in kinds:
            return float(value)
        if isinstance(value, float) and value.is_integer() and int in kinds:
            return int(value)
        if bool in kinds and value in (0, 1):
            return bool(value)
    if str in kinds:
        return plain
    if list in kinds:
        return [plain if elements == {str} else value]
    return _refuse(key, text, kinds)


def _texts(text: str) -> list[str]:
    # The elements of a flat list as they were written: a class may be called 2007.
    if text[:1] + text[-1:] in ('[]', '()'):
        text = text[1:-1]
    return [part.strip().strip('\'"') for part in text.split(',') if part.strip()]


def _refuse(key: str, text: str, kinds: set[type]) -> typing.NoReturn:
    wanted = ' or '.join(_WORDS[kind] for kind in _WORDS if kind in kinds)
    raise UserError(f'--cfg-options {key}={text}: must be {wanted}')


def _annotated(owner: Any, name: str) -> tuple[set[type], set[type]]:
    """Returns what a parameter takes by its annotation, and what its elements are; empty sets where it is not clear."""
    if isinstance(owner, dict):
        kinds, elements = _kinds(owner[name])
        return {*kinds, type(None)}, elements
    for function in _signatures(owner):
        try:
            parameter = inspect.signature(function).parameters.get(name)
        except (TypeError, ValueError):  # of C functions
            continue
        if parameter is None or parameter.annotation is inspect.Parameter.empty:
            continue
        kinds, elements = _kinds(parameter.annotation)
        if kinds and parameter.default is None:
            kinds.add(type(None))
        return kinds, elements
    return set(), set()


def _signatures(owner: Any) -> list:
    # A class passes what it does not name on to the classes it inherits from.
    if inspect.isclass(owner):
        return [vars(parent)['__init__'] for parent in owner.__mro__ if '__init__' in vars(parent)]
    return [] if owner is None else [owner]


def _kinds(annotation: Any) -> tuple[set[type], set[type]]:
    kinds, elements = set(), set()
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            found, inner = _kinds(part)
            if not found:
                return set(), set()
            kinds |= found
            elements |= inner
        return kinds, elements
    if annotation is None:
        return {type(None)}, set()
    origin = typing.get_origin(annotation) or annotation
    if origin in _SCALARS:
        return {origin}, set()
    if origin in _PATHS:
        return {str}, set()
    if origin in _SEQUENCES:
        for part in typing.get_args(annotation):
            elements |= _kinds(part)[0] if part is not Ellipsis else set()
        return {list}, elements
    return set(), set()
