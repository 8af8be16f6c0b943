"""The work folder of a pipeline: its files are read and written here and nowhere else.

::

    stages.json              the stages of the pipeline in their order, with type and role, and where its data is;
                             written when a run begins
    report.json, report.md   the table of all stages; written when a run has come to its end
    report.html              the page on them, see mmwsss.experiments.report
    pipeline.log             the log of all runs
    run.lock                 what the run that is at work holds, see mmwsss.experiments.run_lock
    NAME/key.json            what the content of the stage's folder belongs to, and how long earlier runs have worked
    NAME/complete.json       written last: key, seconds, output, metrics, skipped
    NAME/metrics.json        the whole report of a stage that evaluates something, which the stage itself writes
    NAME.old/                what belonged to other settings

Folders of earlier versions have no ``stages.json``, and no types, roles and runs: they are read all the same.
"""
import functools
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmwsss.experiments.results_table import results_json, results_markdown
from mmwsss.experiments.run_lock import RunLock
from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import read_json, write_bytes, write_json

KEY, COMPLETE, METRICS = 'key.json', 'complete.json', 'metrics.json'
PLAN, REPORT, REPORT_TEXT, LOG = 'stages.json', 'report.json', 'report.md', 'pipeline.log'
NUMBER_OR_NONE = (int, float, type(None))
# A key.json is written within a moment of the time it names, unless the folder is a copy with times of its own.
SAME_MOMENT = 60


@dataclass(frozen=True)
class StageState:
    """What the folder of a stage says.

    Attributes:
        folder: The folder, which need not exist.
        complete: Whether the stage has come to its end.
        kind: Its type, such as ``'make_cam'``; ``None`` where an earlier version has not written it.
        role: What it is to its pipeline, such as ``'CAM'``; ``None`` likewise, and where it has no role.
        seconds: How long all its runs took; ``None`` if it is not complete.
        runs: How many runs it took; ``None`` where an earlier version has timed the last one only.
        metrics: Its rows for the table, see :class:`mmwsss.experiments.pipeline.StageResult`.
        skipped: (file, reason) of what it has left out.
        output: What later stages read.
    """
    folder: Path
    complete: bool = False
    kind: str | None = None
    role: str | None = None
    seconds: float | None = None
    runs: int | None = None
    metrics: list[dict] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    output: Path | None = None

    @functools.cached_property
    def report(self) -> dict[str, Any]:
        """What ``metrics.json`` holds; nothing if the stage is not complete or writes none.

        Raises:
            UserError: If it is damaged.
        """
        return (_read_object(self.folder / METRICS) or {}) if self.complete else {}

    @property
    def per_class(self) -> dict[str, float | None]:
        """The IoU of every class, fractions; nothing if the stage has none.

        Raises:
            UserError: If ``metrics.json`` is damaged.
        """
        found = self.report.get('per_class', {})
        if not isinstance(found, dict) or not all(isinstance(iou, NUMBER_OR_NONE) for iou in found.values()):
            raise _damaged(self.folder / METRICS)
        return found


@dataclass(frozen=True)
class WorkDirContent:
    """What a work folder holds.

    Attributes:
        path: The folder.
        stages: {name: state} in the order of the pipeline; of a folder without ``stages.json`` that of
            ``report.json``, then by the time they were made.
        finished: Whether the pipeline has run to its end, and no stage was made or begun again since.
        rerun: Whether some was.
        planned: Whether ``stages.json`` tells which stages the pipeline has: then it has no others.
        data: Where its data set is and what its classes are, as the pipeline has said it.
    """
    path: Path
    stages: dict[str, StageState]
    finished: bool
    rerun: bool = False
    planned: bool = False
    data: dict[str, Any] | None = None


class WorkDir:
    """The work folder of a pipeline.

    In a distributed run, only one process may call what writes.

    Args:
        path: The folder, which need not exist to be written to.

    Attributes:
        lock: What a run holds, so that there is no other.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lock = RunLock(path)
        # Of each stage that was opened: what its key.json says, and when that was.
        self._opened: dict[str, tuple[dict[str, Any], float]] = {}

    def folder(self, name: str) -> Path:
        """Returns the folder of a stage."""
        return self.path / name

    def begin(self, stages: Sequence[Mapping[str, str | None]], data: Mapping[str, Any] | None = None) -> None:
        """Notes which stages the pipeline has, as a run begins.

        Args:
            stages: For each stage, in their order, ``name``, ``type`` and ``role``.
            data: Of the data set, values for json.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / PLAN, dict(stages=[dict(stage) for stage in stages], data=data))

    def open_stage(self, name: str, key: str, kind: str | None = None, role: str | None = None) -> Path:
        """Opens the folder of a stage that begins or goes on; content of another key is moved to ``NAME.old``.

        Args:
            name: The stage.
            key: Digest of all that its content depends on.
            kind: Its type.
            role: Its role.

        Returns:
            The folder.

        Raises:
            UserError: If the folder holds files that are no stage's.
        """
        folder = self.folder(name)
        before = _read_state(folder / KEY)
        if folder.exists() and before.get('key') != key:
            if any(folder.iterdir()) and not (folder / KEY).exists():
                raise UserError(f'{folder}: holds files that are no stage of a pipeline; choose another --work-dir')
            old = folder.with_name(f'{folder.name}.old')
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            before = {}
        seconds, runs = (_seconds_spent(folder, before), before.get('runs', 1)) if before else (0., 0)
        folder.mkdir(parents=True, exist_ok=True)
        state = dict(key=key, type=kind, role=role, started=time.time(), seconds=seconds, runs=runs + 1)
        write_json(folder / KEY, state)
        self._opened[name] = state, time.monotonic()
        return folder

    def pause_stage(self, name: str) -> None:
        """Notes how long a stage that was opened has worked, when it fails or is interrupted."""
        file = self.folder(name) / KEY
        if name in self._opened:
            state, opened = self._opened.pop(name)
            if _read_state(file).get('key') == state['key']:  # still this run's
                write_json(file, dict(state, seconds=state['seconds'] + time.monotonic() - opened, started=None))

    def complete_stage(self, name: str, output: str | Path, metrics: Sequence[Mapping] = (),
                       skipped: Sequence[Sequence[str]] = (), seconds: float | None = None) -> StageState:
        """Notes that a stage that was opened has come to its end.

        Args:
            name: The stage.
            output: What later stages read: a path that begins with the stage's folder, or one below it.
            metrics: Its rows for the table.
            skipped: (file, reason) of what it has left out.
            seconds: How long it took; ``None``: the time since it was opened and that of earlier runs.

        Raises:
            UserError: If the folder was opened with another key since, so that what is in it is not this stage's.
        """
        folder = self.folder(name)
        state, opened = self._opened[name]
        if _read_state(folder / KEY).get('key', state['key']) != state['key']:
            raise UserError(f'{folder}: another run has begun this stage anew; run the same command again when that '
                            'one has ended, or choose another --work-dir')
        if seconds is None:
            seconds = state['seconds'] + time.monotonic() - opened
        # The output is relative to the folder, so that a work folder can be moved.
        write_json(folder / COMPLETE, dict(
            key=state['key'], type=state['type'], role=state['role'], seconds=round(seconds, 1), runs=state['runs'],
            output=str(_within(Path(output), folder)), metrics=[_finite(row) for row in metrics],
            skipped=[list(file) for file in skipped]))
        return _read_stage(folder)

    def completed(self, name: str, key: str, folders: Sequence[str] = ()) -> StageState | None:
        """Returns the state of a stage that is complete for a key.

        Args:
            name: The stage.
            key: Digest of all that its content depends on.
            folders: Further folders in its own that must be there, beside its output.

        Returns:
            ``None`` if it is not complete, belongs to another key, if what it has made is gone, or if its marker is
            damaged.
        """
        folder = self.folder(name)
        try:
            state = _read_stage(folder)
        except UserError:
            return None
        if state.complete and _read_state(folder / COMPLETE).get('key') == key and all(
                path.exists() for path in (state.output, *(folder / path for path in folders))):
            return state
        return None

    def write_report(self, rows: Sequence[Mapping[str, Any]], title: str | None = None) -> None:
        """Writes ``report.json`` and ``report.md``: the pipeline has run to its end.

        Args:
            rows: Of all stages, see :mod:`mmwsss.experiments.results_table`.
            title: Heading of the text.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path / REPORT_TEXT, results_markdown(rows, title=title).encode())
        write_json(self.path / REPORT, results_json(rows))

    def read(self) -> WorkDirContent:
        """Reads all, whether the pipeline has run to its end or not.

        Raises:
            UserError: If it is no such folder, or a file in it is damaged.
        """
        if not self.path.is_dir():
            raise UserError(f'{self.path}: no such folder; name the work folder of a pipeline')
        plan = self._plan()
        data = (_read_object(self.path / PLAN) or {}).get('data')
        # What is called .old, the pipeline has put aside.
        folders = [folder for folder in self.path.iterdir() if (folder / KEY).is_file() and folder.suffix != '.old']
        if not folders and plan is None:
            raise UserError(f'{self.path}: {_what_it_is(self.path)}')
        reported = self._reported()
        if plan is None:
            started = {folder.name: _read_stage(folder) for folder in sorted(folders, key=_time)}
            stages = {name: started.get(name) or _read_stage(self.folder(name)) for name in reported or ()} | started
        else:  # other stages are those of another pipeline in the same folder
            stages = {name: _read_stage(self.folder(name), *kind_and_role) for name, kind_and_role in plan.items()}
        if reported is None:
            return WorkDirContent(self.path, stages, finished=False, planned=plan is not None, data=data)
        # The report is written at the end of a run: it says something else than the stages if a later run was cut
        # short. A stage whose folder was deleted, to save space, has been there.
        begun = {name: stage for name, stage in stages.items() if (stage.folder / KEY).is_file()}
        rerun = any(name not in reported or not stage.complete or _figures(stage) != _reported_figures(reported[name])
                    for name, stage in begun.items()) or not stages.keys() <= reported.keys()
        return WorkDirContent(self.path, stages, finished=not rerun, rerun=rerun, planned=plan is not None,
                              data=data)

    def _plan(self) -> dict[str, tuple[str | None, str | None]] | None:
        found = _read_object(self.path / PLAN)
        if found is None:
            return None
        stages = found.get('stages')
        if not _is_list_of(dict, stages) or not all(
                isinstance(stage.get('name'), str) and _are_texts(stage.get('type'), stage.get('role'))
                for stage in stages):
            raise _damaged(self.path / PLAN)
        return {stage['name']: (stage.get('type'), stage.get('role')) for stage in stages}

    def _reported(self) -> dict[str, list[dict]] | None:
        report = _read_object(self.path / REPORT)
        if report is None:
            return None
        rows = report.get('rows')
        if not _is_list_of(dict, rows) or not all(isinstance(row.get('stage'), str) for row in rows):
            raise _damaged(self.path / REPORT)
        reported: dict[str, list[dict]] = {}
        for row in rows:
            reported.setdefault(row['stage'], []).append(row)
        return reported


def is_number(value: Any) -> bool:
    """Says whether a json value is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _within(path: Path, folder: Path) -> Path:
    """Returns a path relative to a folder in which it lies; one that does not begin with it is so already."""
    for given, base in ((path, folder), (path.absolute(), folder.absolute())):
        if given.is_relative_to(base):
            return given.relative_to(base)
    if path.is_absolute():
        raise ValueError(f'{path}: the output of a stage must lie in its folder, {folder}')
    return path


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row in which a value that is no finite number is ``None``: json has no other."""
    return {**row, 'value': row['value'] if is_number(row.get('value')) else None}


def _seconds_spent(folder: Path, state: dict[str, Any]) -> float:
    """Returns how long the earlier runs of a stage have worked; of one that was killed, until its last file."""
    seconds, started = state.get('seconds', 0.), state.get('started')
    if not is_number(seconds):
        return 0.
    if is_number(started) and abs((folder / KEY).stat().st_mtime - started) < SAME_MOMENT:
        seconds += max(0., max(_times(folder)) - started)
    return seconds


def _times(folder: Path) -> Iterator[float]:
    return (path.lstat().st_mtime for path in folder.rglob('*') if path.is_file())


def _read_object(path: Path) -> dict[str, Any] | None:
    """Returns what a json file holds, or ``None`` if it is not there; raises a UserError if it is damaged."""
    try:
        value = read_json(path)
    except ValueError as error:
        raise _damaged(path) from error
    if value is not None and not isinstance(value, dict):
        raise _damaged(path)
    return value


def _read_state(path: Path) -> dict[str, Any]:
    """Returns what a json file holds; nothing where it is missing or damaged."""
    try:
        return _read_object(path) or {}
    except UserError:
        return {}


def _damaged(path: Path) -> UserError:
    return UserError(f'{path}: damaged, or not written by a pipeline; delete it and run the pipeline again')


def _what_it_is(path: Path) -> str:
    if (path / KEY).is_file():
        return f'is a single stage; name the folder of its pipeline, {path.parent}'
    if (path / 'results.json').is_file() or any(path.glob('*/seed[0-9]*')):
        return 'belongs to a study, which has a table of its own: results.md (mmwsss study --report-only)'
    return 'is no work folder of a pipeline: it has no <stage>/key.json; name the --work-dir of mmwsss pipeline'


def _time(folder: Path) -> tuple[int, str]:
    """When a stage ended, or was begun if it has not; of copies, whose times may be the same, the name decides."""
    marker = folder / COMPLETE
    return (marker if marker.is_file() else folder / KEY).stat().st_mtime_ns, folder.name


def _read_stage(folder: Path, kind: str | None = None, role: str | None = None) -> StageState:
    file = folder / COMPLETE
    marker = _read_object(file)
    if marker is None:
        return StageState(folder, kind=kind, role=role)
    seconds, metrics, output = marker.get('seconds'), marker.get('metrics'), marker.get('output')
    skipped, runs = marker.get('skipped', []), marker.get('runs')
    if not (is_number(seconds) and isinstance(output, str) and _is_list_of(dict, metrics)
            and all(isinstance(row.get('metric'), str) and isinstance(row.get('value'), NUMBER_OR_NONE)
                    and isinstance(row.get('unit'), (str, type(None))) for row in metrics)
            and _is_list_of(list, skipped) and all(len(file) == 2 for file in skipped)
            and isinstance(runs, (int, type(None))) and _are_texts(marker.get('type'), marker.get('role'))):
        raise _damaged(file)
    return StageState(folder, True, marker.get('type') or kind, marker.get('role') or role, seconds, runs,
                      [{'value': None, **row} for row in metrics], [tuple(file) for file in skipped],
                      folder / output)


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _are_texts(*values: Any) -> bool:
    return all(isinstance(value, (str, type(None))) for value in values)


def _figures(stage: StageState) -> list[tuple[Any, ...]]:
    rows = [(row['metric'], row['value'] if is_number(row['value']) else None) for row in stage.metrics]
    return [(stage.seconds, *row) for row in rows or [('', None)]]


def _reported_figures(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row.get('seconds'), row.get('metric'), row.get('value')) for row in rows]
