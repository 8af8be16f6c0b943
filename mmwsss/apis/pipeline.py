"""A pipeline: stages that meet in files, each skipped when it is complete for this config and these inputs.

Every stage has a folder ``<work_dir>/<stage name>``. ``key.json`` in it says what the stage's content belongs to: the
sha256 of the stage's settings, of the config it runs, of the data set's files and of the keys of the stages whose
output it reads. ``complete.json`` is written last and holds the key and the result. A stage whose marker has the
right key is skipped; one that was interrupted goes on from what is there; one whose key has changed starts anew.
"""
import inspect
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, get_world_size, is_main_process
from rich.console import Console

from mmwsss.apis.config import load_config
from mmwsss.datasets import load_classes, on_rank_zero, read_split
from mmwsss.utils.dist import init_dist
from mmwsss.utils.errors import EXIT_DONE, EXIT_OMISSIONS, UserError
from mmwsss.utils.fileio import read_json, sha256_of_file, sha256_of_json, write_json
from mmwsss.version import __version__


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
        path: The pipeline config. ``configs`` in it names config files, relative to it. ``stages`` is a list of
            dicts with a unique ``name`` and a ``type`` from :data:`mmwsss.apis.stages.STAGES`; other keys are the
            stage's options: ``config`` is a name in ``configs``, ``inputs`` maps an option to the name of the stage
            whose output it is.
        data_root: Folder of the data set, in VOC layout.
        work_dir: Folder of the stages.
        weights: File with ImageNet weights for every backbone that is trained, instead of its config's.
        cfg_options: Settings that override the pipeline config, with dotted keys (``stages.0.config=...``).
        launcher: How the processes were started.

    Raises:
        UserError: For a missing file, a wrong stage list, or a work folder of something else.
    """

    def __init__(self, path: str | Path, data_root: str | Path, work_dir: str | Path, weights: str | None = None,
                 cfg_options: dict | None = None, launcher: str = 'none') -> None:
        from mmwsss.apis.stages import STAGES  # which imports StageResult from here
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f'{path}: no such pipeline config')
        if not Path(data_root).is_dir():
            raise UserError(f'{data_root}: no such folder; name the data set with --data-root')
        if weights is not None and not Path(weights).is_file():
            raise UserError(f'{weights}: no such file of weights')
        self.data_root, self.work_dir = Path(data_root), Path(work_dir)
        self.weights, self.launcher = weights, launcher
        config = Config.fromfile(self.path)
        if cfg_options:
            config.merge_from_dict(cfg_options)
        self._check_form(config)
        self.stages = [stage.to_dict() for stage in config.get('stages') or ()]
        self.configs = {name: str((self.path.parent / file).resolve()) for name, file in
                        (config.get('configs') or {}).items()}
        self._check_stages(STAGES)
        self.functions: dict[str, Callable[..., StageResult]] = STAGES
        init_dist(launcher)
        self.keys: dict[str, str] = {}
        self.results: dict[str, StageResult] = {}
        self.rows: list[dict] = []
        self._fingerprints: dict[str, str] = {}

    def _check_form(self, config: Config) -> None:
        stages, files = config.get('stages') or [], config.get('configs') or {}
        if not isinstance(files, dict) or not isinstance(stages, list) or not all(
                isinstance(stage, dict) and isinstance(stage.get('inputs') or {}, dict)
                and isinstance(stage.get('cfg_options') or {}, dict) for stage in stages):
            raise UserError(f'{self.path}: configs, inputs and cfg_options must be dicts, stages a list of dicts')

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
            missing = [source for source in stage.get('inputs', {}).values() if source not in names]
            if missing:
                raise UserError(f'{self.path}: stage {name} reads {missing[0]!r}, which is no stage before it')
            if 'config' in stage and stage['config'] not in self.configs:
                raise UserError(f'{self.path}: stage {name}: {stage["config"]!r} is not one of the configs '
                                f'{sorted(self.configs)}')
            options = (stage.keys() | stage.get('inputs', {}).keys()) - {'name', 'type', 'inputs'}
            try:
                inspect.signature(known[kind]).bind(folder=None, pipeline=None, **dict.fromkeys(options))
            except TypeError as error:
                raise UserError(f'{self.path}: stage {name}: {error}') from error
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
        marker = on_rank_zero(lambda: read_json(folder / 'complete.json'))
        if marker and marker['key'] == key and Path(marker['result']['output']).exists():
            if is_main_process():
                console.print(f'{title}: complete, skipped', markup=False, highlight=False)
            result = dict(marker['result'], omissions=[tuple(o) for o in marker['result']['omissions']])
            return StageResult(**result), marker['seconds'], True
        if is_main_process():
            console.print(f'{title}: {stage["type"]}', style='bold', markup=False, highlight=False)
            self._open_folder(folder, key)
        barrier()
        start = time.monotonic()
        result = self.functions[stage['type']](folder=folder, pipeline=self, **options)
        seconds = round(time.monotonic() - start, 1)
        barrier()
        if is_main_process():
            write_json(folder / 'complete.json', dict(key=key, seconds=seconds, result=vars(result)))
        barrier()
        return result, seconds, False

    def _open_folder(self, folder: Path, key: str) -> None:
        """Makes the stage's folder, emptied when its content belongs to another key."""
        key_file = folder / 'key.json'
        if folder.exists() and (read_json(key_file) or {}).get('key') != key:
            if any(folder.iterdir()) and not key_file.exists():
                raise UserError(f'{folder}: holds files that are no stage of a pipeline; choose another --work-dir')
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(key_file, dict(key=key))

    def _options(self, stage: dict) -> dict[str, Any]:
        """Returns the keyword arguments of the stage's function."""
        options = {k: v for k, v in stage.items() if k not in ('name', 'type', 'inputs')}
        for option, source in stage.get('inputs', {}).items():
            options[option] = self.results[source].output
        if 'config' in options:
            options['config'] = self.configs[options['config']]
        return options

    def _key(self, stage: dict, options: dict[str, Any]) -> str:
        # Outputs of other stages enter by their keys: paths would tie the markers to this work folder.
        own = {k: v for k, v in options.items() if k not in stage.get('inputs', {}) and k != 'config'}
        parts = dict(version=__version__, type=stage['type'], options=own,
                     inputs={k: self.keys[v] for k, v in stage.get('inputs', {}).items()},
                     data=self._fingerprint(options.get('split')))
        if 'config' in options:
            parts['config'] = load_config(options['config'], self.data_root, options.get('cfg_options')).to_dict()
            parts['config'].pop('data_root', None)
            parts['weights'] = sha256_of_file(self.weights) if self.weights else None
            parts['world_size'] = get_world_size()
        return sha256_of_json(parts)

    def _fingerprint(self, split: str | None) -> str:
        """Returns the sha256 of the data set: class list, labels, and name, size and time of the split's files."""
        cache_key = split or ''
        if cache_key not in self._fingerprints:
            root = self.data_root
            parts: dict[str, Any] = dict(classes=load_classes(root))
            labels = root / 'labels.json'
            parts['labels'] = sha256_of_file(labels) if labels.is_file() else None
            if split:
                stems = set(read_split(root, split))
                folders = ('JPEGImages', 'SegmentationClass', 'Annotations', 'Saliency')
                parts['files'] = [(f, path.name, stat.st_size, stat.st_mtime_ns) for f in folders
                                  for path in _files(root / f) if path.stem in stems for stat in [path.stat()]]
                parts['split'] = sorted(stems)
            self._fingerprints[cache_key] = sha256_of_json(parts)
        return self._fingerprints[cache_key]


def _files(folder: Path) -> Sequence[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else ()
