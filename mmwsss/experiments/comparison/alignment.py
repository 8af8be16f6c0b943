"""Which stages of several pipelines are each other's counterparts: by role, else by name."""
import dataclasses
from collections.abc import Sequence

from mmwsss.experiments.work_dir import WorkDirContent

# What two stages must have in common: type and role, or else their name.
Identity = tuple[str, str]


def align(contents: Sequence[WorkDirContent]) -> list[WorkDirContent]:
    """Gives counterparts in several work folders the same name.

    Stages of the same type and role are counterparts, such as ``eval_segmentor`` and ``eval_irnet_segmentor``. Of
    several with one role in a pipeline it is the last, which the pipeline goes on with. All other stages go by their
    names, and so do those of folders that earlier versions have written, which know no roles.

    Args:
        contents: The work folders.

    Returns:
        The same, in the same order; the names of their stages are those of the lines of a table: the name, where all
        have the same, else the role with all names.
    """
    identities = [_identities(content) for content in contents]
    known = {name: identity for found in identities for name, identity in found.items() if identity[0]}
    for content, found in zip(contents, identities):
        for name in [name for name in found if content.stages[name].kind is None]:
            if name in known and known[name] not in found.values():
                found[name] = known[name]
    labels = _labels(identities)
    return [dataclasses.replace(content, stages={labels[found[name]]: stage for name, stage in content.stages.items()})
            for content, found in zip(contents, identities)]


def _identities(content: WorkDirContent) -> dict[str, Identity]:
    last = {(stage.kind, stage.role): name for name, stage in content.stages.items() if stage.kind and stage.role}
    return {name: (stage.kind, stage.role) if last.get((stage.kind, stage.role)) == name else ('', name)
            for name, stage in content.stages.items()}


def _labels(identities: Sequence[dict[str, Identity]]) -> dict[Identity, str]:
    """Returns a name for each identity, no two the same."""
    names: dict[Identity, dict[str, None]] = {}
    for found in identities:
        for name, identity in found.items():
            names.setdefault(identity, {})[name] = None
    labels: dict[Identity, str] = {}
    for identity, members in names.items():
        label = next(iter(members)) if len(members) == 1 else f'{identity[1]}: {" / ".join(members)}'
        labels[identity] = label if label not in labels.values() else f'{label} ({identity[0] or "other"})'
    return labels


def find_stage(stages: Sequence[str], name: str) -> str:
    """Returns the line of a table that a name means: its whole label, or the name of a stage in it.

    Args:
        stages: The labels of :func:`align`.
        name: What was asked for.
    """
    return next((label for label in stages if label == name),
                next((label for label in stages if name in label.partition(': ')[2].split(' / ')), name))
