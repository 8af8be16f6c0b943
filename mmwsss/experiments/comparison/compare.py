"""Several pipelines side by side: their figures stage by stage, over seeds, against a baseline."""
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmwsss.experiments.comparison.alignment import align, find_stage
from mmwsss.experiments.comparison.compare_dirs import merge_orders
from mmwsss.experiments.comparison.measures import Measure, measures_of, unmeasured_of
from mmwsss.experiments.table_text import mean, std
from mmwsss.experiments.work_dir import StageState, WorkDir, WorkDirContent, is_number
from mmwsss.utils.errors import UserError

Pipelines = Mapping[str, Sequence[WorkDirContent]]

MEASURED, UNMEASURED, MISSING, ABSENT = 'measured', 'unmeasured', 'missing', 'absent'


@dataclass(frozen=True)
class Cell:
    """What a pipeline has of a line.

    Attributes:
        state: ``measured``; ``unmeasured`` if the stage is complete without this figure; ``missing`` if the stage is
            not complete; ``absent`` if the pipeline has no such stage.
        values: The figures, one per seed that has one.
        difference: Mean of the values minus that of the baseline; ``None`` for the baseline itself, and where one of
            the two has no values.
    """
    state: str
    values: tuple[float, ...] = ()
    difference: float | None = None

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return mean(self.values)

    @property
    def std(self) -> float | None:
        """Standard deviation over the seeds (n - 1); ``None`` for one seed."""
        return std(self.values)


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        name: The stage or class.
        measure: What the figures say.
        cells: {name of a pipeline: its cell}.
    """
    name: str
    measure: Measure
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Picture:
    """A picture that a pipeline has drawn.

    Attributes:
        stage: The stage that drew it.
        pipeline: Its pipeline.
        path: The file, which need not exist any more.
    """
    stage: str
    pipeline: str
    path: Path


class Comparison:
    """Several pipelines side by side.

    Args:
        sources: {name of a pipeline: the work folders of its seeds}.
        baseline: The pipeline that the others are compared with; default the first.
        per_class: A stage whose IoU per class is compared too.

    Raises:
        UserError: For a folder that is no pipeline's or holds a damaged file, an unknown baseline or stage, or if
            nothing was measured at all.
    """

    def __init__(self, sources: Mapping[str, Sequence[str | Path]], baseline: str | None = None,
                 per_class: str | None = None) -> None:
        if not sources:
            raise UserError('there is no work folder to compare')
        self.baseline = next(iter(sources)) if baseline is None else baseline
        if self.baseline not in sources:
            raise UserError(f'--baseline {baseline}: is not one of {", ".join(sources)}')
        dirs = align([WorkDir(path).read() for paths in sources.values() for path in paths])
        rest = iter(dirs)
        self.pipelines: Pipelines = {name: [next(rest) for _ in paths] for name, paths in sources.items()}
        # The stages of a pipeline that has not run to its end are ordered by the time of files, which copies may lose.
        self.stages = merge_orders([list(folder.stages) for folder in sorted(dirs, key=lambda d: not d.finished)])
        self.class_stage = None if per_class is None else find_stage(self.stages, per_class)
        self.metrics = [line for stage in self.stages for line in self._metric_lines(stage)]
        if not any(cell.values for line in self.metrics for cell in line.cells.values()):
            reasons = [f' ({name}: {reason})' for folder in dirs for name, stage in folder.stages.items()
                       for reason in unmeasured_of(stage).values() if reason]
            raise UserError(f'{", ".join(str(folder.path) for folder in dirs)}: no stage that measures something is '
                            f'complete, so there is nothing to compare{"".join(reasons[:1])}')
        self.times = [self._line(stage, Measure('time', 's', '', False), lambda s: s.seconds) for stage in self.stages]
        self.classes = [] if self.class_stage is None else self._class_lines(self.class_stage)

    @property
    def is_incomplete(self) -> bool:
        """Whether a pipeline has not run to its end, or a stage of a seed is missing."""
        return any(not folder.finished or self.status(name, folder, stage) == MISSING
                   for name, folders in self.pipelines.items() for folder in folders for stage in self.stages)

    def total_seconds(self, pipeline: str) -> float:
        """Returns the mean times of a pipeline's stages, summed over those that are complete."""
        return float(sum(line.cells[pipeline].mean or 0 for line in self.times))

    def pictures(self) -> list[Picture]:
        """Returns what the pipelines have drawn, stage by stage; of several seeds, what the first has drawn."""
        found = []
        for stage in self.stages:
            for name, folders in self.pipelines.items():
                paths = [path for folder in folders if stage in folder.stages
                         and (path := folder.stages[stage].output) is not None and path.suffix.lower() == '.png']
                found += [Picture(stage, name, path) for path in paths[:1]]
        return found

    def status(self, name: str, folder: WorkDirContent, stage: str) -> str:
        """Returns the state of a stage in a work folder; ``measured`` stands for complete."""
        if stage in folder.stages:
            return MEASURED if folder.stages[stage].complete else MISSING
        # What a pipeline of an earlier version that has not run to its end would still have, nobody knows: rather too
        # much said than too little.
        others = any(stage in other.stages for other in self.pipelines[name])
        return MISSING if others or not (folder.finished or folder.planned) else ABSENT

    def _complete(self, stage: str) -> list[StageState]:
        return [found for folders in self.pipelines.values() for folder in folders
                if (found := folder.stages.get(stage)) and found.complete]

    def _metric_lines(self, stage: str) -> list[Line]:
        found = self._complete(stage)
        measures = list(dict.fromkeys(measure for each in found for measure in measures_of(each)))
        for measure in dict.fromkeys(measure for each in found for measure in unmeasured_of(each)):
            if not any(other[:2] == measure[:2] for other in measures):
                measures.append(measure)
        return [self._line(stage, measure, lambda s, m=measure: measures_of(s).get(m)) for measure in measures]

    def _class_lines(self, stage: str) -> list[Line]:
        orders = [list(each.per_class) for each in self._complete(stage)]
        if not any(orders):
            known = [name for name in self.stages if any(each.per_class for each in self._complete(name))]
            raise UserError(f'--per-class {stage}: no such stage with an IoU per class in its metrics.json; '
                            f'there {"are " + ", ".join(known) if known else "is none"}')

        def measure_of(each: StageState) -> Measure:
            return Measure('IoU', '%', '', bool(each.report.get('oracle_threshold')),
                           after=each.report.get('postprocessors') or '')

        def iou(each: StageState, name: str, measure: Measure) -> float | None:
            value = each.per_class.get(name)
            return 100 * value if is_number(value) and measure_of(each) == measure else None

        measures = dict.fromkeys(measure_of(each) for each in self._complete(stage) if each.per_class)
        return [self._line(stage, measure, lambda s, n=name, m=measure: iou(s, n, m), name)
                for name in merge_orders(orders) for measure in measures]

    def _line(self, stage: str, measure: Measure, read: Callable[[StageState], float | None],
              name: str | None = None) -> Line:
        """Makes a line of what ``read`` returns for the stage in every work folder in which it is complete."""
        cells: dict[str, Cell] = {}
        values = {pipeline: self._values(stage, folders, read) for pipeline, folders in self.pipelines.items()}
        base = mean(values[self.baseline])
        for pipeline, folders in self.pipelines.items():
            states = {self.status(pipeline, folder, stage) for folder in folders}
            own = mean(values[pipeline])
            known = own is not None and base is not None and pipeline != self.baseline
            state = (MEASURED if values[pipeline] else MISSING if MISSING in states
                     else UNMEASURED if MEASURED in states else ABSENT)
            cells[pipeline] = Cell(state, values[pipeline], own - base if known else None)
        return Line(name or stage, measure, cells)

    @staticmethod
    def _values(stage: str, folders: Iterable[WorkDirContent],
                read: Callable[[StageState], float | None]) -> tuple[float, ...]:
        found = (read(folder.stages[stage]) for folder in folders
                 if stage in folder.stages and folder.stages[stage].complete)
        return tuple(value for value in found if value is not None)
