"""The work folders of pipelines that are compared: which they are, and what is in them."""
import functools
import glob
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json

NUMBER_OR_NONE = (int, float, type(None))


class Measure(NamedTuple):
    """What a figure says; figures of which anything of this differs are not compared with each other.

    Attributes:
        metric: Its name.
        unit: Its unit, such as ``%``.
        split: What it was measured on: a stage's note up to the first comma.
        oracle: Whether it was chosen on ground truth.
        number: Which it is, of several in a stage of which all else is the same.
    """
    metric: str
    unit: str
    split: str
    oracle: bool
    number: int = 0


@dataclass(frozen=True)
class Stage:
    """A stage in a work folder.

    Attributes:
        folder: Its folder, which need not exist.
        complete: Whether it has come to its end.
        seconds: How long it took.
        metrics: Its rows for the table, see :class:`mmwsss.experiments.pipeline.pipeline.StageResult`.
        omissions: (file, reason) of what it has left out.
        output: What later stages read.
    """
    folder: Path
    complete: bool = False
    seconds: float | None = None
    metrics: list[dict] = field(default_factory=list)
    omissions: list[list[str]] = field(default_factory=list)
    output: Path | None = None

    def measures(self) -> dict[Measure, float]:
        """Returns the figures; those that could not be measured are not among them."""
        found: dict[Measure, float] = {}
        for row in self.metrics:
            if row['metric'] and is_number(row['value']):
                measure = Measure(row['metric'], row.get('unit') or '', str(row.get('note') or '').split(',')[0],
                                  bool(row.get('oracle')))
                while measure in found:
                    measure = measure._replace(number=measure.number + 1)
                found[measure] = row['value']
        return found

    def unmeasured(self) -> dict[Measure, str]:
        """Returns the figures that could not be measured, with the reason."""
        return {Measure(row['metric'], row.get('unit') or '', '', False): str(row.get('note') or '')
                for row in self.metrics if row['metric'] and not is_number(row['value'])}

    @functools.cached_property
    def report(self) -> dict[str, Any]:
        """What ``metrics.json`` holds; nothing if the stage is not complete or writes none.

        Raises:
            UserError: If it is damaged.
        """
        return (read_object(self.folder / 'metrics.json') or {}) if self.complete else {}

    def per_class(self) -> dict[str, float | None]:
        """Returns the IoU of every class, fractions; nothing if the stage has none.

        Raises:
            UserError: If ``metrics.json`` is damaged.
        """
        found = self.report.get('per_class', {})
        if not isinstance(found, dict) or not all(isinstance(iou, NUMBER_OR_NONE) for iou in found.values()):
            raise _damaged(self.folder / 'metrics.json')
        return found


@dataclass(frozen=True)
class WorkDir:
    """The work folder of a pipeline.

    Attributes:
        path: The folder.
        stages: {name: stage} in the order of the pipeline: that of ``report.json``, then by the time they were made.
        finished: Whether the pipeline has run to its end, and no stage was made or begun again since.
        rerun: Whether some was.
    """
    path: Path
    stages: dict[str, Stage]
    finished: bool
    rerun: bool = False


def is_number(value: Any) -> bool:
    """Says whether a json value is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def parse_sources(arguments: Iterable[str]) -> dict[str, list[Path]]:
    """Finds the folders that arguments of the command line name.

    Args:
        arguments: ``DIR``, which is a pipeline with the name of the folder, or ``NAME=DIR``, where ``DIR`` may also be
            several folders, separated by commas, or a pattern such as ``work/seam_seed*``. All folders of one
            ``NAME`` are seeds of one pipeline.

    Returns:
        {name of a pipeline: its folders}, in the order given.

    Raises:
        UserError: For two pipelines of one name, a folder that is given twice, or a pattern without folders.
    """
    sources: dict[str, list[Path]] = {}
    owners: dict[Path, str] = {}
    unnamed = set()
    for argument in arguments:
        name, sign, value = argument.partition('=')
        is_unnamed = not sign or Path(argument).is_dir()
        if is_unnamed:
            name, folders = os.path.basename(os.path.abspath(argument)), [Path(argument)]
        else:
            folders = _find_folders(value, argument)
        if name in unnamed or (is_unnamed and name in sources):
            raise UserError(f'{argument}: another pipeline is called {name} too; give each folder a name, NAME=DIR '
                            '(folders of the same NAME are seeds of one pipeline)')
        if not name:
            raise UserError(f'{argument}: give it a name, NAME=DIR')
        if is_unnamed:
            unnamed.add(name)
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


def read_work_dir(path: str | Path) -> WorkDir:
    """Reads the work folder of a pipeline, whether it has run to its end or not.

    Args:
        path: The folder.

    Raises:
        UserError: If it is no such folder, or a file in it is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f'{path}: no such folder; name the work folder of a pipeline')
    # What is called .old, the pipeline has put aside.
    folders = [folder for folder in path.iterdir() if (folder / 'key.json').is_file() and folder.suffix != '.old']
    if not folders:
        raise UserError(f'{path}: {_what_it_is(path)}')
    started = {folder.name: _read_stage(folder) for folder in sorted(folders, key=_time)}
    report = read_object(path / 'report.json')
    if report is None:
        return WorkDir(path, started, finished=False)
    reported: dict[str, list[dict]] = {}
    rows = report.get('rows')
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get('stage'), str)
                                             for row in rows):
        raise _damaged(path / 'report.json')
    for row in rows:
        reported.setdefault(row['stage'], []).append(row)
    stages = {name: started.get(name) or _read_stage(path / name) for name in reported}
    # The report is written at the end of a run: it says something else than the stages if a later run was cut short.
    rerun = any(name not in reported or not stage.complete or _figures(stage) != _reported_figures(reported[name])
                for name, stage in started.items())
    return WorkDir(path, stages | started, finished=not rerun, rerun=rerun)


def read_object(path: Path) -> dict[str, Any] | None:
    """Returns what a json file of a pipeline holds, or ``None`` if it is not there.

    Raises:
        UserError: If it is damaged.
    """
    try:
        value = read_json(path)
    except ValueError as error:
        raise _damaged(path) from error
    if value is not None and not isinstance(value, dict):
        raise _damaged(path)
    return value


def _damaged(path: Path) -> UserError:
    return UserError(f'{path}: damaged, or not written by a pipeline; delete it and run the pipeline again')


def _what_it_is(path: Path) -> str:
    if (path / 'key.json').is_file():
        return f'is a single stage; name the folder of its pipeline, {path.parent}'
    if (path / 'results.json').is_file() or any(path.glob('*/seed[0-9]*')):
        return 'belongs to a study, which has a table of its own: results.md (tools/run_study.py --report-only)'
    return 'is no work folder of a pipeline: it has no <stage>/key.json; name the --work-dir of tools/run_pipeline.py'


def _time(folder: Path) -> tuple[int, str]:
    """When a stage ended, or was begun if it has not; of copies, whose times may be the same, the name decides."""
    marker = folder / 'complete.json'
    return (marker if marker.is_file() else folder / 'key.json').stat().st_mtime_ns, folder.name


def _read_stage(folder: Path) -> Stage:
    file = folder / 'complete.json'
    marker = read_object(file)
    if marker is None:
        return Stage(folder)
    seconds, metrics, output = marker.get('seconds'), marker.get('metrics'), marker.get('output')
    omissions = marker.get('omissions')
    if not (is_number(seconds) and isinstance(output, str) and _is_list_of(dict, metrics)
            and all(isinstance(row.get('metric'), str) and isinstance(row.get('value'), NUMBER_OR_NONE)
                    and isinstance(row.get('unit'), (str, type(None))) for row in metrics)
            and _is_list_of(list, omissions) and all(len(omission) == 2 for omission in omissions)):
        raise _damaged(file)
    metrics = [{'value': None, **row} for row in metrics]
    return Stage(folder, True, seconds, metrics, omissions, folder / output)


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _figures(stage: Stage) -> list[tuple[Any, ...]]:
    rows = [(row['metric'], row['value'] if is_number(row['value']) else None) for row in stage.metrics]
    return [(stage.seconds, *row) for row in rows or [('', None)]]


def _reported_figures(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row.get('seconds'), row.get('metric'), row.get('value')) for row in rows]


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
