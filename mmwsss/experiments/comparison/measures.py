"""The figures of a stage, each with what decides whether it may be compared with another."""
from typing import NamedTuple

from mmwsss.experiments.work_dir import StageState, is_number


class Measure(NamedTuple):
    """What a figure says; figures of which anything of this differs are not compared with each other.

    Attributes:
        metric: Its name.
        unit: Its unit, such as ``%``.
        split: What it was measured on: a stage's note up to the first comma.
        oracle: Whether it was chosen on ground truth.
        number: Which it is, of several in a stage of which all else is the same.
        after: The post-processors that it was measured behind, such as ``DenseCRF``.
    """
    metric: str
    unit: str
    split: str
    oracle: bool
    number: int = 0
    after: str = ''


def measures_of(stage: StageState) -> dict[Measure, float]:
    """Returns the figures of a stage; those that could not be measured are not among them."""
    found: dict[Measure, float] = {}
    for row in stage.metrics:
        if row['metric'] and is_number(row['value']):
            measure = Measure(row['metric'], row.get('unit') or '', str(row.get('note') or '').split(',')[0],
                              bool(row.get('oracle')), after=row.get('after') or '')
            while measure in found:
                measure = measure._replace(number=measure.number + 1)
            found[measure] = row['value']
    return found


def unmeasured_of(stage: StageState) -> dict[Measure, str]:
    """Returns the figures of a stage that could not be measured, with the reason."""
    return {Measure(row['metric'], row.get('unit') or '', '', False): str(row.get('note') or '')
            for row in stage.metrics if row['metric'] and not is_number(row['value'])}
