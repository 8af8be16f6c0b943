"""Settings of the configs that a pipeline or a study runs: whose they are, and how messages name them."""
import contextlib
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmwsss.config.config import SETTINGS
from mmwsss.utils.errors import UserError, one_line

PREFIX = 'cfg_options'


def flat_options(options: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Returns nested settings under dotted keys; of two settings of one key, the later counts.

    Files write dotted keys, and what overrides them may come nested.
    """
    flat: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, dict) and value:
            flat.update(flat_options(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def take_options(options: Mapping[str, Any] | None, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separates the settings below a prefix from all others.

    Args:
        options: Settings with dotted keys, those of a command line with their ``texts``, which both parts keep.
        prefix: Such as ``'cfg_options'``.

    Returns:
        The settings whose keys begin with ``prefix.``, without it, and the others.
    """
    options = {} if options is None else options
    taken, others = type(options)(), type(options)()
    for key, value in options.items():
        target, name = (taken, key.removeprefix(f'{prefix}.')) if key.startswith(f'{prefix}.') else (others, key)
        target[name] = value
        if hasattr(options, 'texts') and key in options.texts:
            target.texts[name] = options.texts[key]
    return taken, others


def join_options(first: Mapping[str, Any] | None, then: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the settings of two, those of the second over those of the first, with the ``texts`` that they have."""
    joined = type(then if hasattr(then, 'texts') else first if hasattr(first, 'texts') else {})()
    for options in (first or {}, then or {}):
        for key, value in options.items():
            joined[key] = value
            if hasattr(joined, 'texts'):
                joined.texts.pop(key, None)
        if hasattr(options, 'texts'):
            joined.texts.update(options.texts)
    return joined


def owner_of(key: str, names: Collection[str]) -> str | None:
    """Returns which of some names a dotted key begins with, the longest; names may hold dots themselves."""
    return max((name for name in names if key.startswith(f'{name}.')), key=len, default=None)


def closest(name: str, known: Collection[str]) -> str:
    """Returns a remark on the most similar of the known names, and on which there are."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f'closest: {found[0]!r}; there are {", ".join(known)}' if found else 'there are none'


@contextlib.contextmanager
def naming(title: str, config: str | None = None, replace: Mapping[str, str] | None = None) -> Iterator[None]:
    """Puts a title into the message of a user error, and names its options as the command line takes them.

    Messages of the parts below know only the config that they run: ``train_cfg.max_epochs`` becomes
    ``cfg_options.CONFIG.train_cfg.max_epochs``.

    Args:
        title: Such as ``'stage label'``.
        config: The name of the config; ``None``: settings go without a name.
        replace: Further phrases of messages, and what to say instead.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f'{title}: {hint_text(one_line(error), config, replace)}') from error


def hint_text(message: str, config: str | None = None, replace: Mapping[str, str] | None = None) -> str:
    """Returns a message with its options named as the command line takes them, see :func:`naming`."""
    for phrase, instead in (replace or {}).items():
        message = message.replace(phrase, instead)
    prefix = f'{PREFIX}.{config}.' if config else f'{PREFIX}.'
    # The first word behind --cfg-options, whatever it is, and every dotted name that begins with a setting of a run.
    words = rf'(?<=--cfg-options )(?!{PREFIX}\.)(?=[\w.]+[=:])|(?<![\w./\'"-])(?=(?:{"|".join(SETTINGS)})\.[a-z_])'
    return re.sub(words, prefix, message)
