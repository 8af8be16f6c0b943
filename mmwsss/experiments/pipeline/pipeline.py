"""A pipeline: stages that meet in files, each skipped when it is complete for this config and these inputs.

Every stage has a folder ``<work_dir>/<stage name>``. ``key.json`` in it says what the stage's content belongs to: the
sha256 of its settings, of what counts of the config it runs, of the data it reads and of the keys of the stages
whose output it reads. ``complete.json`` is written last and holds the key and the result. A stage whose marker has the
right key is skipped; one that was interrupted goes on from what is there; one whose key has changed starts anew, its
old folder kept as ``<stage name>.old``.
"""
import inspect
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from rich.console import Console

from mmwsss.config.config import load_config, merge_options, read_config
from mmwsss.datasets import DataFolder, on_rank_zero
from mmwsss.experiments.pipeline.stage_keys import config_parts, data_fingerprint
from mmwsss.postprocessing import build_postprocessors
from mmwsss.postprocessing.background import check_background
from mmwsss.utils.dist import init_dist
from mmwsss.utils.errors import EXIT_DONE, EXIT_OMISSIONS, UserError
from mmwsss.utils.fileio import read_json, sha256_of_json, write_json
from mmwsss.version import __version__

SETTINGS = ('configs', 'cfg_options', 'classes', 'stages', 'options')


@dataclass
class StageResult:
    """What a stage reports.

    Attributes:
        output: The path that later stages read (a checkpoint, a folder, a json file).
        metrics: Rows for the table: dicts with ``metric``, ``value``, ``unit``, ``note`` and ``oracle``.
        omissions: (file, reason) for every file that was left out.
    """
    output: str
    metrics: list[dict] = field(default_factory=list)
    omissions: list[tuple[str, str]] = field(default_factory=list)


class Pipeline:
    """Runs the stages of a pipeline config.

    Args:
        path: The pipeline config. ``configs`` in it names config files, relative to it, and ``cfg_options`` settings
            that override them, by the same names. ``classes`` is the class list, if not ``classes.txt`` of the data.
            ``stages`` is a list of dicts with a unique ``name`` and a ``type`` from
            :data:`mmwsss.experiments.pipeline.stages.STAGES`; other keys are the stage's options: ``config`` is a
            name in ``configs``, ``inputs`` maps an option to the name of the stage whose output it is, or to
            ``NAME/FOLDER``, a folder that this stage has written. ``options`` has settings of
            stages, by their names, that replace theirs: a config that inherits its stages changes one of them by it.
        data_root: Folder of the data set, in VOC layout.
        work_dir: Folder of the stages.
        weights: File with ImageNet weights for every backbone that is trained, instead of its config's.
        cfg_options: Settings that override the pipeline config, with dotted keys, e.g.
            ``cfg_options.cam.train_cfg.max_epochs=1``.
        launcher: How the processes were started.

    Raises:
        UserError: For a missing file, a wrong stage list, or a work folder of something else.
    """

    def __init__(self, path: str | Path, data_root: str | Path, work_dir: str | Path, weights: str | None = None,
                 cfg_options: dict | None = None, launcher: str = 'none') -> None:
        from mmwsss.experiments.pipeline.stages import STAGES  # which imports StageResult from here
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f'{path}: no such pipeline config')
        if not Path(data_root).is_dir():
            raise UserError(f'{data_root}: no such folder; name the data set with --data-root')
        if weights is not None and not Path(weights).is_file():
            raise UserError(f'{weights}: no such file of weights')
        self.data_root, self.work_dir = Path(data_root), Path(work_dir)
        self.weights, self.launcher = weights, launcher
        config = merge_options(read_config(self.path), cfg_options, SETTINGS)
        self.data = DataFolder.find(data_root, classes=config.get('classes'))
        self.classes = self.data.classes
        self.cfg_options = {name: dict(options) for name, options in (config.get('cfg_options') or {}).items()}
        self._check_form(config)
        self.stages = self._with_options([stage.to_dict() for stage in config.get('stages') or ()],
                                         (config.get('options') or Config()).to_dict())
        self.configs = {name: str((self.path.parent / file).resolve()) for name, file in
                        (config.get('configs') or {}).items()}
        self._check_stages(STAGES)
        self.functions: dict[str, Callable[..., StageResult]] = STAGES
        init_dist(launcher)
        self.keys: dict[str, str] = {}
        self.results: dict[str, StageResult] = {}
        self.rows: list[dict] = []

    def _check_form(self, config: Config) -> None:
        stages, files = config.get('stages') or [], config.get('configs') or {}
        options = config.get('options') or {}
        if not isinstance(options, dict) or not all(isinstance(option, dict) for option in options.values()):
            raise UserError(f'{self.path}: options must be a dict of dicts, by the names of stages')
        if not isinstance(files, dict) or not isinstance(stages, list) or not all(
                isinstance(stage, dict) and isinstance(stage.get('inputs') or {}, dict)
                and isinstance(stage.get('cfg_options') or {}, dict) for stage in stages):
            raise UserError(f'{self.path}: configs, inputs and cfg_options must be dicts, stages a list of dicts')

    def _with_options(self, stages: list[dict], options: dict[str, dict]) -> list[dict]:
        names = [stage.get('name') for stage in stages]
        if unknown := [name for name in options if name not in names]:
            raise UserError(f'{self.path}: options are for {unknown[0]!r}, which is no stage; stages are '
                            f'{", ".join(map(str, names))}')
        return [{**stage, **options.get(stage.get('name'), {})} for stage in stages]

    def _check_stages(self, known: dict) -> None:
        if not self.stages:
            raise UserError(f'{self.path}: has no stages')
        names: list[str] = []
        for stage in self.stages:
            name, kind = stage.get('name'), stage.get('type')
            if not name or name in names:
                raise UserError(f'{self.path}: every stage needs a name of its own, got {name!r}')
            if kind not in known:
                raise UserError(f'{self.path}: stage {name}: type {kind!r} is not one of {sorted(known)}')
            inputs = stage.get('inputs', {})
            if not isinstance(inputs, dict) or not all(isinstance(source, str) for source in inputs.values()):
                raise UserError(f'{self.path}: stage {name}: inputs must be a dict of option -> stage or NAME/FOLDER, '
                                f'got {inputs!r}')
            missing = [source for source in inputs.values() if _stage_of(source) not in names]
            if missing:
                raise UserError(f'{self.path}: stage {name} reads {missing[0]!r}, which is no stage before it')
            if 'config' in stage and stage['config'] not in self.configs:
                raise UserError(f'{self.path}: stage {name}: {stage["config"]!r} is not one of the configs '
                                f'{sorted(self.configs)}')
            options = (stage.keys() | inputs.keys()) - {'name', 'type', 'inputs'}
            try:
                inspect.signature(known[kind]).bind(folder=None, pipeline=None, **dict.fromkeys(options))
            except TypeError as error:
                raise UserError(f'{self.path}: stage {name}: {error}') from error
            # A wrong background or a missing package shows now, not in an hour.
            if stage.get('background') is not None:
                check_background(stage['background'])
            build_postprocessors(stage.get('postprocessors') or ())
            names.append(name)

    def run(self) -> int:
        """Runs all stages that are not complete.

        Returns:
            The exit code: done, or done with omissions.

        Raises:
            UserError: From the stage that failed.
        """
        console = Console(stderr=True)
        omitted = False
        for number, stage in enumerate(self.stages, start=1):
            name = stage['name']
            result, seconds, skipped = self._run_stage(stage, console, f'[{number}/{len(self.stages)}] {name}')
            self.results[name] = result
            omitted |= bool(result.omissions)
            self.rows += [dict(stage=name, seconds=seconds, skipped=skipped, **row) for row in result.metrics
                          or [dict(metric='', value=None)]]
            if result.omissions and is_main_process():
                path, reason = result.omissions[0]
                console.print(f'{name}: {len(result.omissions)} files left out, e.g. {path}: {reason}',
                              style='yellow', markup=False, highlight=False, soft_wrap=True)
        return EXIT_OMISSIONS if omitted else EXIT_DONE

    def _run_stage(self, stage: dict, console: Console, title: str) -> tuple[StageResult, float, bool]:
        name = stage['name']
        folder = self.work_dir / name
        options = self._options(stage)
        key = self.keys[name] = self._key(stage, options)
        # One process looks, so that all of them take the same decision.
        marker = on_rank_zero(lambda: self._read_marker(folder, key, self._folders_read(name)))
        if marker is not None:
            if is_main_process():
                console.print(f'{title}: complete, skipped', markup=False, highlight=False)
            omissions = [tuple(omission) for omission in marker['omissions']]
            return StageResult(str(folder / marker['output']), marker['metrics'], omissions), marker['seconds'], True
        if is_main_process():
            console.print(f'{title}: {stage["type"]}', style='bold', markup=False, highlight=False)
        on_rank_zero(lambda: self._open_folder(folder, key))
        start = time.monotonic()
        result = self.functions[stage['type']](folder=folder, pipeline=self, **options)
        seconds = round(time.monotonic() - start, 1)
        # Relative to the folder, so that a work folder can be moved.
        output = str(Path(result.output).relative_to(folder))
        on_rank_zero(lambda: write_json(folder / 'complete.json', dict(
            key=key, seconds=seconds, output=output, metrics=result.metrics, omissions=result.omissions)))
        return result, seconds, False

    def _folders_read(self, name: str) -> list[str]:
        """Returns the folders of a stage, beside its output, that other stages read."""
        return [source.partition('/')[2] for stage in self.stages for source in stage.get('inputs', {}).values()
                if '/' in source and _stage_of(source) == name]

    @staticmethod
    def _read_marker(folder: Path, key: str, folders: list[str]) -> dict | None:
        marker = _read_state(folder / 'complete.json')
        if marker.get('key') == key and all((folder / path).exists() for path in (marker['output'], *folders)):
            return marker
        return None

    def _open_folder(self, folder: Path, key: str) -> None:
        """Makes the stage's folder; content that belongs to another key is moved aside."""
        key_file = folder / 'key.json'
        if folder.exists() and _read_state(key_file).get('key') != key:
            if any(folder.iterdir()) and not key_file.exists():
                raise UserError(f'{folder}: holds files that are no stage of a pipeline; choose another --work-dir')
            old = folder.with_name(f'{folder.name}.old')
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(key_file, dict(key=key))

    def load_stage_config(self, name: str, cfg_options: dict | None = None) -> Config:
        """Loads one of the configs, with the pipeline's and a stage's settings over it.

        Args:
            name: Its name in ``configs``.
            cfg_options: The stage's settings, with dotted keys.

        Returns:
            The config, fitted to the data set.
        """
        options = {'classes': list(self.classes), **self.cfg_options.get(name, {}), **(cfg_options or {})}
        return load_config(self.configs[name], self.data, options)

    def _options(self, stage: dict) -> dict[str, Any]:
        """Returns the keyword arguments of the stage's function."""
        options = {k: v for k, v in stage.items() if k not in ('name', 'type', 'inputs')}
        for option, source in stage.get('inputs', {}).items():
            if source == _stage_of(source):
                options[option] = self.results[source].output
                continue
            options[option] = str(self.work_dir / source)
            if not Path(options[option]).is_dir():
                raise UserError(f'{self.path}: stage {stage["name"]} reads {source!r}, but there is no folder '
                                f'{options[option]}')
        return options

    def _key(self, stage: dict, options: dict[str, Any]) -> str:
        # Outputs of other stages enter by their keys: paths would tie the markers to this work folder.
        inputs = stage.get('inputs', {})
        own = {k: v for k, v in options.items() if k not in inputs and k != 'config'}
        cfg = self.load_stage_config(options['config'], options.get('cfg_options')) if 'config' in options else None
        if cfg is not None and own.get('postprocessors', ()) is None:
            own['postprocessors'] = cfg.get('test_postprocessors')
        parts = dict(version=__version__, type=stage['type'], options=own, classes=self.classes,
                     inputs={k: self.keys[_stage_of(v)] + v[len(_stage_of(v)):] for k, v in inputs.items()},
                     data=on_rank_zero(lambda: data_fingerprint(stage, cfg, self.data_root)))
        if cfg is not None:
            parts['config'] = config_parts(cfg, stage['type'], self.weights)
        return sha256_of_json(parts)


def _stage_of(source: str) -> str:
    return source.partition('/')[0]


def _read_state(path: Path) -> dict[str, Any]:
    """Returns what a json file of a stage's state holds; nothing where it is missing or damaged."""
    try:
        state = read_json(path)
    except ValueError:
        state = None
    return state if isinstance(state, dict) else {}
