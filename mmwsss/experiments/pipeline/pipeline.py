"""A pipeline: stages that meet in files, each reused when it is complete for this config and these inputs.

Every stage has a folder ``<work_dir>/<stage name>``, see :mod:`mmwsss.experiments.work_dir`. What its content belongs
to is its key: a digest of its settings, of what counts of the config it runs, of the data it reads and of the keys of
the stages whose output it reads. A stage that is complete for its key is reused; one that was interrupted goes on from
what is there; one whose key has changed starts anew, its old folder kept as ``<stage name>.old``.
"""
import contextlib
import copy
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from rich.console import Console

from mmwsss.config.config import fit_to_data, merge_options, read_config, scale_lr_by_batch
from mmwsss.datasets import on_rank_zero
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.datasets.layout import stem_of
from mmwsss.experiments.options import naming
from mmwsss.experiments.pipeline.pipeline_config import PipelineConfig, splits_of, stage_of
from mmwsss.experiments.pipeline.roles import find_roles
from mmwsss.experiments.pipeline.stage import ConfigStage, Stage, StageContext, StageResult
from mmwsss.experiments.report.sources import describe_data
from mmwsss.experiments.results_table import value_text
from mmwsss.experiments.splits import check_splits
from mmwsss.experiments.table_text import duration_text
from mmwsss.experiments.weights import check_weights_option, weights_for
from mmwsss.experiments.work_dir import StageState, WorkDir, is_number
from mmwsss.utils.console import StepLine
from mmwsss.utils.dist import init_dist
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError
from mmwsss.utils.fileio import sha256_of_file, sha256_of_json
from mmwsss.utils.memory import release_memory
from mmwsss.version import __version__


class Pipeline:
    """Runs the stages of a pipeline config.

    Args:
        path: The pipeline config, see :class:`mmwsss.experiments.pipeline.pipeline_config.PipelineConfig`.
        data: The data set, or its root folder.
        work_dir: Folder of the stages.
        weights: File with ImageNet weights for every backbone that is trained, instead of its config's; or {name of a
            config or a stage: file}.
        cfg_options: Settings that override the pipeline config, with dotted keys, e.g.
            ``cfg_options.cam.train_cfg.max_epochs=1`` or ``stages.label.num_workers=2``.
        launcher: How the processes were started.
        auto_scale_lr: Whether batches are those of each process, and learning rates grow with their total, see
            :func:`mmwsss.config.config.scale_lr_by_batch`.

    Attributes:
        data: The data set.
        stages: {name: stage} in order.
        results: {name: result} of the stages that have run or were complete.
        rows: Of the table, see :mod:`mmwsss.experiments.results_table`.
        title: Heading of the table.

    Raises:
        UserError: For a missing file, wrong stages or options, or a data set without lists of images.
    """

    def __init__(self, path: str | Path, data: str | Path | DataFolder, work_dir: str | Path,
                 weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
                 launcher: str = 'none', auto_scale_lr: bool = False) -> None:
        self.config = PipelineConfig(path, cfg_options)
        self.path, self.stages, self.launcher = self.config.path, self.config.stages, launcher
        self.auto_scale_lr = auto_scale_lr
        self.data = DataFolder.find(data, classes=self.config.classes)
        # The classes of a data set are looked up once.
        self.data = DataFolder.find(self.data, classes=self.data.classes)
        self.weights = check_weights_option(weights, [*self.config.configs, *self.stages])
        self.work = WorkDir(work_dir)
        self.title = f'{self.path.stem} on {self.data.root}'
        self._files: dict[str, Config] = {}
        for stage in self.stages.values():  # a wrong setting shows now, not in an hour
            if isinstance(stage, ConfigStage):
                with self._naming(stage):
                    stage.load(self._context(stage))
        check_splits(self.data, splits_of(self.config), 'a pipeline')
        init_dist(launcher)
        self.keys: dict[str, str] = {}
        self.results: dict[str, StageResult] = {}
        self.rows: list[dict] = []
        self._fingerprints: dict[str, str] = {}

    def load_stage_config(self, name: str, cfg_options: Mapping | None = None) -> Config:
        """Loads one of the configs, with the pipeline's and a stage's settings over it.

        Args:
            name: Its name in ``configs``.
            cfg_options: The stage's settings, with dotted keys.

        Returns:
            The config, fitted to the data set.
        """
        if name not in self._files:
            self._files[name] = read_config(self.config.configs[name])
        cfg = copy.deepcopy(self._files[name])
        for options in (self.config.cfg_options.get(name), cfg_options):
            merge_options(cfg, options)
        if cfg.get('model') is None:
            raise UserError(f'{self.config.configs[name]}: has no model; this is not the config of a training or a '
                            'test')
        if self.auto_scale_lr and cfg.get('train_dataloader'):
            scale_lr_by_batch(cfg, self._files[name].train_dataloader.get('batch_size', 1))
        return fit_to_data(cfg, self.data)

    def check(self) -> None:
        """Finds the keys of all stages, and checks what can be checked before the first one runs.

        These are splits, batch sizes, masks, saliency maps and weights: files of weights are downloaded, loaded and
        compared with the networks and with some images. Stages that are complete are not checked: nothing of what they
        read is needed any more.

        Raises:
            UserError: If something is missing or does not fit.
        """
        self._fingerprints.clear()
        for stage in self.stages.values():
            with self._naming(stage):
                self.keys[stage.name] = self._key(stage)
                if on_rank_zero(lambda stage=stage: self._completed(stage)) is None:
                    stage.check(self._context(stage))

    def problems(self) -> Iterator[tuple[str, UserError]]:
        """Yields (stage, error) for every stage that cannot run, as far as that can be known before, see :meth:`check`.

        What a complete stage needs is looked for too.
        """
        for stage in self.stages.values():
            try:
                with self._naming(stage):
                    stage.check(self._context(stage))
            except UserError as error:
                yield stage.name, error

    def run(self) -> int:
        """Runs all stages that are not complete, and writes the report.

        Returns:
            The exit code: done, or done without files that were left out.

        Raises:
            UserError: From the stage that failed, or if another run is at work in the work folder.
        """
        with self.work.lock.held():
            return self._run()

    def _run(self) -> int:
        self.check()
        console, roles = Console(stderr=True), find_roles(self.stages)
        self.results, self.rows = {}, []
        plan = [dict(name=name, type=self.config.kinds[name], role=roles[name]) for name in self.stages]
        on_rank_zero(lambda: self.work.begin(plan, describe_data(self.data)))
        for number, (name, stage) in enumerate(self.stages.items(), start=1):
            with self._naming(stage):
                state, reused = self._run_stage(stage, roles[name], console, f'[{number}/{len(self.stages)}] {name}')
            self.results[name] = StageResult(str(state.output), state.metrics, state.skipped)
            self.rows += [dict(stage=name, seconds=state.seconds, reused=reused, **row) for row in state.metrics
                          or [dict(metric='', value=None)]]
            if state.skipped and is_main_process():
                path, reason = state.skipped[0]
                console.print(f'{name}: {len(state.skipped)} files left out, e.g. {path}: {reason}',
                              style='yellow', markup=False, highlight=False, soft_wrap=True)
        on_rank_zero(lambda: self.work.write_report(self.rows, self.title))
        return EXIT_SKIPPED if any(result.skipped for result in self.results.values()) else EXIT_DONE

    def _run_stage(self, stage: Stage, role: str | None, console: Console, title: str) -> tuple[StageState, bool]:
        # One process looks, so that all of them take the same decision.
        state = on_rank_zero(lambda: self._completed(stage))
        if state is not None:
            if is_main_process():
                console.print(f'{title}: complete, reused', markup=False, highlight=False, soft_wrap=True)
            return state, True
        with StepLine(f'{title}: {self.config.kinds[stage.name]}', quiet=not is_main_process()) as line:
            state = self._execute(stage, role)
            figures = [f'{row["metric"]} {value_text(row)}' for row in state.metrics if is_number(row['value'])]
            line.result = ', '.join([duration_text(state.seconds), *figures])
        return state, False

    def _execute(self, stage: Stage, role: str | None) -> StageState:
        name, kind = stage.name, self.config.kinds[stage.name]
        context = self._context(stage, run=True)
        release_memory()  # of the last stage's model
        on_rank_zero(lambda: self.work.open_stage(name, self.keys[name], kind, role))
        try:
            result = on_rank_zero(lambda: stage.run(context)) if stage.MAIN_PROCESS_ONLY else stage.run(context)
        except BaseException:  # Ctrl-C too: the time it took counts
            if is_main_process():
                with contextlib.suppress(OSError):  # such as a full disk, which is the error itself
                    self.work.pause_stage(name)
            raise
        return on_rank_zero(lambda: self.work.complete_stage(name, result.output, result.metrics, result.skipped))

    def _naming(self, stage: Stage) -> contextlib.AbstractContextManager:
        """Puts the name of a stage into messages, and names options as a pipeline takes them."""
        loader = 'train_dataloader' if self.config.kinds[stage.name] == 'train' else 'test_dataloader'
        hints = {"missing_cam='skip' (--missing-cam skip)": f'--cfg-options stages.{stage.name}.missing_cam=skip',
                 "missing='skip' (--missing skip)": f'--cfg-options stages.{stage.name}.missing=skip'}
        config = getattr(stage, 'config', None)
        if config is not None:
            hints["missing_label='skip'"] = ' '.join(
                f'cfg_options.{config}.{name}.dataset.missing_label=skip'
                for name in ('train_dataloader', 'test_dataloader'))
            hints["missing_mask='skip'"] = f'cfg_options.{config}.{loader}.dataset.missing_mask=skip'
            hints['with --weights or '] = f'with --weights {config}=FILE or '
        return naming(f'stage {stage.name}', config, hints)

    def _context(self, stage: Stage, run: bool = False) -> StageContext:
        inputs = {}
        if run:
            inputs = {**{option: self._input(stage, source) for option, source in stage.inputs.items()}, **stage.paths}
        return StageContext(
            folder=self.work.folder(stage.name), data=self.data, load_config=self.load_stage_config,
            fingerprint=self._fingerprint, inputs=inputs, left_out=self._left_out(stage) if run else (),
            weights=weights_for(self.weights, stage.name, getattr(stage, 'config', stage.name)),
            launcher=self.launcher)

    def _input(self, stage: Stage, source: str) -> str:
        if source == stage_of(source):
            return str(self.results[source].output)
        folder = self.work.path / source
        if not folder.is_dir():
            raise UserError(f'{self.path}: stage {stage.name} reads {source!r}, but there is no folder {folder}')
        return str(folder)

    def _left_out(self, stage: Stage) -> set[str]:
        """Returns the stems of what the stages that a stage has its files from have left out, directly or not."""
        found: set[str] = set()
        for option, source in stage.inputs.items():
            if stage.reads_files(option):
                name = stage_of(source)
                found |= self._left_out(self.stages[name])
                for path, _ in self.results[name].skipped:
                    found |= {stem_of(path), Path(path).stem}
        return found

    def _completed(self, stage: Stage) -> StageState | None:
        """Returns the state of a stage that is complete, with all that others read of it."""
        folders = [source.partition('/')[2] for other in self.stages.values() for source in other.inputs.values()
                   if '/' in source and stage_of(source) == stage.name]
        return self.work.completed(stage.name, self.keys[stage.name], folders)

    def _fingerprint(self, split: str | None, what: Collection[str], data: DataFolder | None = None) -> str:
        data = data or self.data
        return sha256_of_json([(part, self._fingerprint_of(split, part, data)) for part in sorted(what)])

    def _fingerprint_of(self, split: str | None, part: str, data: DataFolder) -> str:
        # Part by part, since several stages read the same one.
        places = dict(images=data.images_path, masks=data.masks_path, saliency=data.saliency_path)
        memo = repr((split, part, places.get(part, data)))
        if memo not in self._fingerprints:
            self._fingerprints[memo] = on_rank_zero(lambda: data.fingerprint(data.stems(split), (part,)))
        return self._fingerprints[memo]

    def _key(self, stage: Stage) -> str:
        # Outputs of other stages enter by their keys: paths would tie the markers to this work folder.
        inputs = {option: self.keys[stage_of(source)] + source[len(stage_of(source)):]
                  for option, source in stage.inputs.items()}
        return sha256_of_json(dict(
            version=__version__, type=self.config.kinds[stage.name], classes=self.data.classes, inputs=inputs,
            paths={option: on_rank_zero(lambda path=path: _digest(Path(path))) for option, path in stage.paths.items()},
            stage=stage.key(self._context(stage))))


def _digest(path: Path) -> str:
    """Returns a digest of a file's content, or of names, sizes and times of the files in a folder."""
    if path.is_file():
        return sha256_of_file(path)
    files = sorted(file for file in path.rglob('*') if file.is_file())
    return sha256_of_json([(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns)
                           for file in files])
