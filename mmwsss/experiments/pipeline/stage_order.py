"""The stages of a pipeline config: a dict by name, in order, which a config that inherits it changes in part."""
from collections.abc import Mapping
from typing import Any

from mmwsss.utils.errors import UserError

AFTER, BEFORE = 'after', 'before'
FORM = "stages = dict(classifier=dict(type='train', config='cam', split='train'), cam=dict(type='make_cam', ...), ...)"


def ordered_stages(stages: Any, where: str) -> dict[str, dict[str, Any]]:
    """Returns the stages in the order in which they run.

    That is the order of the dict, in which those of ``_base_`` come first, but for stages with ``after`` or ``before``:
    they stand right behind or in front of the stage that is named there. ``None`` in place of a stage drops it.

    Args:
        stages: What the config says.
        where: The config, for messages.

    Returns:
        {name: options without ``after`` and ``before``}.

    Raises:
        UserError: If it is no dict of dicts, has no stage, or if places lead nowhere or in a circle.
    """
    if isinstance(stages, (list, tuple)) and stages:
        raise UserError(f'{where}: stages are a dict by their names, no list of dicts with a name; write {FORM}')
    if not isinstance(stages, Mapping) or not all(stage is None or isinstance(stage, Mapping)
                                                  for stage in stages.values()):
        if stages:
            raise UserError(f'{where}: stages must be a dict of dicts: {FORM}')
        stages = {}
    kept = {name: dict(stage) for name, stage in stages.items() if stage is not None}
    if not kept:
        raise UserError(f'{where}: has no stages; write {FORM}')
    places: dict[str, tuple[str, str]] = {}
    for name, stage in kept.items():
        after, before = stage.pop(AFTER, None), stage.pop(BEFORE, None)
        if after and before:
            raise UserError(f'{where}: stage {name}: give {AFTER} or {BEFORE}, not both')
        if target := after or before:
            if target not in kept or target == name:
                raise UserError(f'{where}: stage {name}: {AFTER if after else BEFORE}={target!r}, which is no other '
                                'stage')
            places[name] = (AFTER if after else BEFORE, target)
    return {name: kept[name] for name in _placed([name for name in kept if name not in places], places, where)}


def _placed(order: list[str], places: Mapping[str, tuple[str, str]], where: str) -> list[str]:
    """Puts stages into an order; of several behind the same one, the first that is listed comes first."""
    waiting = dict(places)
    while waiting:
        ready = [name for name, (_, target) in waiting.items() if target in order]
        if not ready:
            raise UserError(f'{where}: stages {", ".join(waiting)} are each to stand next to another of them')
        side, target = waiting.pop(ready[0])
        index = order.index(target)
        if side == AFTER:
            index += 1
            while index < len(order) and _stands_behind(order[index], target, places):
                index += 1
        order.insert(index, ready[0])
    return order


def _stands_behind(name: str, target: str, places: Mapping[str, tuple[str, str]]) -> bool:
    while name in places and places[name][0] == AFTER:
        name = places[name][1]
        if name == target:
            return True
    return False
