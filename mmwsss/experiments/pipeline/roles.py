"""What each stage is to its pipeline, so that its counterpart in another one is found whatever it is called."""
from collections.abc import Mapping

from mmwsss.experiments.pipeline.stage import CONFIDENT_LABEL, LABEL, REFINED_CAM, SEGMENTOR, Stage

# What label maps are, by the role of the network that is trained with them.
LABEL_ROLES = {SEGMENTOR: LABEL, REFINED_CAM: CONFIDENT_LABEL}


def find_roles(stages: Mapping[str, Stage]) -> dict[str, str | None]:
    """Returns the role of every stage.

    It is the one that the stage names, or that of its type (CAMs are CAMs). A training has the role of the first stage
    that reads its checkpoint; label maps are what they are to the network that is trained with them; and what only
    evaluates has the role of what it evaluates.

    Args:
        stages: The stages, in order.

    Returns:
        {name: role}; ``None`` for a stage without one, which other pipelines have only under the same name.
    """
    roles = {name: stage.role or stage.ROLE for name, stage in stages.items()}
    # From behind: what a training is, the stages after it decide.
    for name in reversed(stages):
        if roles[name] is None:
            roles[name] = _role_of_readers(name, stages, roles)
    made = {source: role for stage_name, stage in stages.items() for option, source in stage.inputs.items()
            if option == 'labels' and (role := LABEL_ROLES.get(roles[stage_name] or ''))}
    for name, stage in stages.items():
        if roles[name] is None and stage.EVALUATES:
            source = next(iter(stage.inputs.values()), '')
            roles[name] = made.get(source, roles.get(source.partition('/')[0]))
    return roles


def _role_of_readers(name: str, stages: Mapping[str, Stage], roles: Mapping[str, str | None]) -> str | None:
    for other, stage in stages.items():
        for option, source in stage.inputs.items():
            if source != name or roles[other] is None:
                continue
            if option == 'checkpoint':
                return roles[other]
            if option == 'labels' and roles[other] in LABEL_ROLES:
                return LABEL_ROLES[roles[other]]
    return None
