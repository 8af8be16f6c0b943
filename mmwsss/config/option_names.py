"""Misspelt names in ``--cfg-options``: MMEngine takes any name for a new setting, and reads it nowhere."""
import difflib
import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import mmwsss.registry
from mmwsss.utils.errors import UserError

# Where the type of a part is looked up.
PART_REGISTRIES = ('DATASETS', 'TRANSFORMS', 'MODELS', 'INFERENCE_HOOKS', 'CAM_PROVIDERS', 'POSTPROCESSORS', 'METRICS',
                   'HOOKS', 'LOOPS', 'OPTIM_WRAPPERS', 'OPTIMIZERS', 'PARAM_SCHEDULERS', 'DATA_SAMPLERS',
                   'WEIGHT_INITIALIZERS', 'VISUALIZERS', 'VISBACKENDS', 'STAGES')
# What MMEngine reads of settings that are dicts without a type.
DICT_SETTINGS = dict(env_cfg=('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
                     auto_scale_lr=('enable', 'base_batch_size'))
# How alike two names are of which one is taken for the other misspelt, see difflib.
ALIKE = 0.8


def part_class(name: Any) -> Any:
    """Returns the class that a part's ``type`` names; ``None`` where none is registered under this name."""
    if not isinstance(name, str):
        return name  # a config may name the class itself
    for registry_name in PART_REGISTRIES:
        # MMEngine gives a module of this name too, such as Python's own `test`.
        if callable(found := getattr(mmwsss.registry, registry_name).get(name)):
            return found
    return None


def check_names(cfg: Mapping[str, Any], cfg_options: Collection[str], known: Collection[str]) -> None:
    """Refuses names that a config has not, where they are sure to be mistakes.

    These are unknown settings of the config itself, and of those that MMEngine reads by name; a part without ``type``
    beside parts that all have one (``default_hooks.loger.interval``); and, inside a part, one that is named like
    another and that the part's class does not take (``model.bakbone.depth``). Any other name may be that of a new
    setting.

    Args:
        cfg: The config.
        cfg_options: The dotted keys.
        known: Names of settings that the config may have, besides those that it has.

    Raises:
        UserError: For such a name; the message has the one that is meant.
    """
    for key in cfg_options:
        name, *below = key.split('.')
        if name not in cfg and name not in known:
            closest = _closest(name, {*cfg, *known})
            raise UserError(f'--cfg-options {key}: there is no setting {name!r} (closest: {closest!r})')
        if below and name in DICT_SETTINGS and below[0] not in DICT_SETTINGS[name]:
            raise UserError(f'--cfg-options {key}: {name} has no {below[0]!r} '
                            f'(closest: {_closest(below[0], DICT_SETTINGS[name])!r})')
        _check_parts(cfg, key, cfg_options)


def _check_parts(cfg: Mapping[str, Any], key: str, cfg_options: Collection[str]) -> None:
    node, path = cfg, ''
    for name in key.split('.')[:-1]:
        if isinstance(node, (list, tuple)) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        elif node is cfg or (isinstance(node, Mapping) and name in node):
            node = node.get(name)
        else:
            break
        path = f'{path}.{name}'.lstrip('.')
    else:
        return
    if not isinstance(node, Mapping) or f'{path}.{name}.type' in cfg_options:
        return
    parts = {other: part for other, part in node.items() if isinstance(part, Mapping)}
    if 'type' in node:
        alike = difflib.get_close_matches(name, parts, n=1, cutoff=ALIKE)
        if not alike or _takes(part_class(node['type']), name):
            return
    elif not parts or not all('type' in part for part in parts.values()):
        return
    raise UserError(f'--cfg-options {key}: {path} has no {name!r} (closest: {_closest(name, parts)!r}); a new one '
                    f'needs {path}.{name}.type=NAME too')


def _closest(name: str, names: Iterable[str]) -> str:
    return difflib.get_close_matches(name, names, n=1, cutoff=0)[0]


def _takes(cls: Any, name: str) -> bool:
    """Returns whether a class, or one that it inherits from, has a parameter of a name."""
    return any(name in inspect.signature(vars(parent)['__init__']).parameters
               for parent in getattr(cls, '__mro__', ()) if parent is not object and '__init__' in vars(parent))
