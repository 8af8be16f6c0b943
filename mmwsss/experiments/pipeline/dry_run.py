"""A dry run of a pipeline: every stage is built and run, with two images and one iteration, to find what fails."""
import contextlib
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from mmengine.config import Config
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.pipeline.dry_config import SMALLEST_SIDE, choose_images, make_dry
from mmwsss.experiments.pipeline.dry_data import make_dry_data
from mmwsss.experiments.pipeline.pipeline import Pipeline
from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig, splits_of, stage_of
from mmwsss.experiments.pipeline.roles import find_roles
from mmwsss.experiments.pipeline.stage import Stage, StageResult
from mmwsss.utils.console import make_console
from mmwsss.utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_SKIPPED, UserError, one_line
from mmwsss.utils.memory import sparing_memory

DRY_DIR = 'dry_run'


@dataclass
class DryStage:
    """What a dry run found out about a stage.

    Attributes:
        name: The stage.
        kind: Its type.
        error: Why it failed; ``None`` if it ran, or was not tried.
        waits_for: The stage that failed whose output it reads.
        seconds: How long it took.
        random: Weights that are not there, in whose place it had random ones.
        missing: What a real run of it on these data would stop at; ``None``: nothing that can be known before.
        traceback: Of an error that is no mistake of the user.
    """
    name: str
    kind: str
    error: str | None = None
    waits_for: str | None = None
    seconds: float | None = None
    random: list[str] = field(default_factory=list)
    missing: str | None = None
    traceback: str | None = None

    @property
    def works(self) -> bool:
        """Whether it ran to its end."""
        return self.error is None and self.waits_for is None


class DryPipeline(Pipeline):
    """A pipeline whose stages train one iteration of two images, see :func:`dry_run` for the arguments."""

    def __init__(self, path: str | Path, data: str | Path | DataFolder, work_dir: str | Path,
                 weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
                 side: int | None = None) -> None:
        self.side, self._random = side, {}
        super().__init__(path, data, work_dir, weights, cfg_options)
        self.lists = choose_images(self.data, splits_of(self.config), self.work.path / 'images')
        for stage in self.stages.values():
            if split := getattr(stage, 'split', None):
                stage.split = self.lists.get(split, split)
            if hasattr(stage, 'num_workers'):
                stage.num_workers = 0

    def load_stage_config(self, name: str, cfg_options: Mapping | None = None) -> Config:
        """Loads one of the configs, see :meth:`Pipeline.load_stage_config`, made small."""
        cfg = super().load_stage_config(name, cfg_options)
        self._random[name] = make_dry(cfg, self.side)
        return cfg

    def try_stages(self) -> Iterator[DryStage]:
        """Runs stage after stage; those that read what failed are passed over."""
        roles, failed = find_roles(self.stages), set()
        console = Console(quiet=True)
        self.work.begin([dict(name=name, type=self.config.kinds[name], role=roles[name]) for name in self.stages])
        for name, stage in self.stages.items():
            row = DryStage(name, self.config.kinds[name])
            row.waits_for = next((stage_of(source) for source in stage.inputs.values() if stage_of(source) in failed),
                                 None)
            if row.waits_for is None:
                start = monotonic()
                with sparing_memory():  # so that a laptop has enough for the largest recipe
                    self._try(stage, roles[name], console, row)
                row.seconds = monotonic() - start
            if not row.works:
                failed.add(name)
            yield row

    def _try(self, stage: Stage, role: str | None, console: Console, row: DryStage) -> None:
        config = getattr(stage, 'config', None)
        try:
            with self._naming(stage):
                self.keys[stage.name] = self._key(stage)
                stage.check(self._context(stage))
                if row.kind == 'train' and self._context(stage).weights is None:
                    row.random = self._random.get(config, [])
                state, _ = self._run_stage(stage, role, console, stage.name)
            self.results[stage.name] = StageResult(str(state.output), state.metrics, state.skipped)
            if state.skipped:
                path, reason = state.skipped[0]
                row.error = f'left out {path}: {reason}'
        except UserError as error:
            row.error = one_line(error).removeprefix(f'stage {stage.name}: ')
        except Exception as error:  # whatever it is, the other stages are tried all the same
            row.error = f'{type(error).__name__}: {" ".join(str(error).split())}'
            row.traceback = traceback.format_exc()


def dry_run(config: str | Path, data: str | Path | DataFolder | None = None, work_dir: str | Path | None = None,
            weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
            side: int | None = None) -> list[DryStage]:
    """Builds every stage of a pipeline and runs it: one iteration of two images, CAMs and labels of two images.

    Nothing is left of what it makes. Weights that are not there are random, so no figure means anything.

    Args:
        config: The pipeline config.
        data: The data set, or its root; ``None``: four generated pictures, for a VOC pipeline as VOC is distributed.
        work_dir: Gets a folder ``dry_run`` with what the stages write, which stays if one fails; ``None``: a temporary
            folder.
        weights: See :class:`~mmwsss.experiments.pipeline.pipeline.Pipeline`.
        cfg_options: Settings that override the pipeline config.
        side: Crops are at most this large, and images scaled as much; ``None``: as the configs say.

    Returns:
        What was found, stage by stage.

    Raises:
        UserError: If the pipeline config itself is wrong.
    """
    if side is not None and side < SMALLEST_SIDE:
        raise UserError(f'--side {side}: must be at least {SMALLEST_SIDE} pixels')
    made_for = PipelineConfig(config, cfg_options)
    folder = Path(work_dir, DRY_DIR) if work_dir is not None else Path(tempfile.mkdtemp(prefix='mmwsss_dry_run_'))
    if work_dir is not None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    rows: list[DryStage] = []
    try:
        missing = {} if data is None else find_missing(config, data, folder, weights, cfg_options)
        if data is None:
            size = 256 if side is None else side
            data = make_dry_data(folder / 'data', splits_of(made_for), made_for.classes, size)
        for row in DryPipeline(config, data, folder / 'stages', weights, cfg_options, side).try_stages():
            row.missing = missing.get(row.name)
            rows.append(row)
            for line in (row.error, row.traceback):
                if line:
                    with open(folder / 'errors.txt', 'a', encoding='utf-8') as file:
                        file.write(f'{row.name}: {line}\n')
    finally:
        if all(row.works for row in rows):  # or none was tried, as the data set or the weights are wrong
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):  # there is something else in it
                if work_dir is not None:
                    folder.parent.rmdir()
        else:
            print(f'errors: {folder / "errors.txt"}')
    return rows


def find_missing(config: str | Path, data: str | Path | DataFolder, work_dir: str | Path,
                 weights: str | Path | Mapping[str, str | Path] | None = None,
                 cfg_options: dict | None = None) -> dict[str, str]:
    """Returns, for every stage that a real run would stop at when it begins, what it misses.

    Args:
        config: The pipeline config.
        data: The data set, or its root.
        work_dir: A folder that need not exist.
        weights: See :class:`~mmwsss.experiments.pipeline.pipeline.Pipeline`.
        cfg_options: Settings that override the pipeline config.
    """
    pipeline, missing = Pipeline(config, data, work_dir, weights, cfg_options), {}
    for name, error in pipeline.problems():
        missing[name] = one_line(error).removeprefix(f'stage {name}: ')
    return missing


def dry_table(rows: list[DryStage], title: str) -> Table:
    """Returns what a dry run found as a table."""
    table = Table(title=Text(title), title_justify='left')
    for name in ('Stage', 'Type', 'Runs', 'Time', 'Weights'):
        table.add_column(name, justify='right' if name == 'Time' else 'left')
    for row in rows:
        runs = 'yes' if row.works else 'no' if row.error else f'waits for {row.waits_for}'
        seconds = '' if row.seconds is None else f'{row.seconds:.1f} s'
        weights = '' if row.kind != 'train' or not row.works else 'random' if row.random else 'given'
        table.add_row(*map(Text, (row.name, row.kind, runs, seconds, weights)))
    return table


def run_dry(config: str | Path, data: str | Path | DataFolder | None = None, work_dir: str | Path | None = None,
            weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
            side: int | None = None) -> int:
    """Does :func:`dry_run` and prints its table.

    Returns:
        The exit code: done; failed, if a stage does; or with skipped files, if all run, but a real run would stop at
        something that is missing.
    """
    rows = dry_run(config, data, work_dir, weights, cfg_options, side)
    make_console().print(dry_table(rows, f'dry run of {Path(config).stem}'))
    for row in rows:
        for text, what in ((row.error, 'fails'), (row.missing, 'a real run would stop at once')):
            if text:
                print(f'stage {row.name} ({what}): {text}')
        if row.random and not row.missing:
            print(f'stage {row.name}: random weights in place of {", ".join(row.random)}')
    working = sum(row.works for row in rows)
    missing = sum(row.missing is not None for row in rows)
    print(f'{working} of {len(rows)} stages run'
          + (f'; a real run would stop at {missing} of them' if missing else ''))
    if working < len(rows):
        return EXIT_FAILED
    return EXIT_SKIPPED if missing else EXIT_DONE
