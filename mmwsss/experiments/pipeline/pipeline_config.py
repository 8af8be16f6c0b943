"""Reading the config of a pipeline: its stages, the configs they run, and settings over these."""
import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmwsss.config.config import SETTINGS as RUN_SETTINGS
from mmwsss.config.config import merge_options, read_config
from mmwsss.experiments.options import PREFIX, closest, flat_options, join_options, owner_of, take_options
from mmwsss.experiments.pipeline.stage import ConfigStage, Stage
from mmwsss.experiments.pipeline.stage_order import ordered_stages
from mmwsss.registry import STAGES
from mmwsss.utils.errors import UserError

SETTINGS = ('configs', PREFIX, 'classes', 'stages', 'custom_imports')


class PipelineConfig:
    """What a pipeline config says, checked.

    Args:
        path: The pipeline config:

            * ``stages``: {name: dict with a ``type`` of :data:`mmwsss.registry.STAGES`}, in their order, see
              :func:`mmwsss.experiments.pipeline.stage_order.ordered_stages`. Other keys are the stage's options.
              ``inputs`` maps an input to the name of the stage whose output it is, or to ``NAME/FOLDER``, a folder that
              this stage has written, or to ``None``, which drops it; an input that is given as an option is a path of
              something from elsewhere.
              ``config`` is a name in ``configs``.
            * ``configs``: {name: config file, relative to the pipeline config}.
            * ``cfg_options``: settings over the configs, with dotted keys that begin with the name of a config (it then
              holds for all its stages) or of a stage. Of a name that is both, the config is meant.
            * ``classes``: the class list, if not ``classes.txt`` of the data.
            * ``custom_imports``: modules that register stages of one's own.
        cfg_options: Settings that override the pipeline config, with dotted keys.

    Attributes:
        path: The file.
        configs: {name: path of the config file}.
        classes: The class list, or ``None``.
        stages: {name: stage} in order.
        kinds: {name: type of the stage}.
        cfg_options: {name of a config: settings over it}.

    Raises:
        UserError: For a missing file, or a setting or stage that does not fit.
    """

    def __init__(self, path: str | Path, cfg_options: dict | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f'{path}: no such pipeline config')
        config = read_config(self.path)
        over, own = take_options(cfg_options, PREFIX)
        self._check_names(config, own)
        merge_options(config, own, SETTINGS)
        files, options = config.get('configs') or {}, config.get(PREFIX) or {}
        if not isinstance(files, dict) or not isinstance(options, dict):
            raise UserError(f'{self.path}: configs and cfg_options must be dicts')
        self.classes = config.get('classes')
        self.configs = {name: str((self.path.parent / file).resolve()) for name, file in files.items()}
        described = ordered_stages(_plain(config.get('stages')), str(self.path))
        self.cfg_options: dict[str, dict[str, Any]] = {}
        for given in (flat_options(options), over):
            self._add_options(given, described)
        self.stages: dict[str, Stage] = {}
        for name, stage in described.items():
            self.stages[name] = self._build(name, stage)
        self.kinds = {name: described[name]['type'] for name in self.stages}

    def _check_names(self, config: Config, options: Mapping[str, Any]) -> None:
        if 'options' in config:
            raise UserError(f'{self.path}: there is no setting "options" any more; change the stages themselves, as '
                            'stages = dict(NAME=dict(...))')
        for name in config.keys() - set(SETTINGS):  # helpers of the file, unless they look like a slip
            if close := difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.8):
                raise UserError(f'{self.path}: {name!r} is no setting of a pipeline (closest: {close[0]!r}); rename it')
        for key in options:
            name = key.split('.')[0]
            if name in SETTINGS or name in config:
                continue
            stages, files = config.get('stages') or {}, config.get('configs') or {}
            if name in RUN_SETTINGS and files:
                raise UserError(f'--cfg-options {key}: a pipeline runs several configs; say of which one, as '
                                f'{PREFIX}.{next(iter(files))}.{key} (there are {", ".join(files)})')
            if '.' in key and name in files:
                raise UserError(f'--cfg-options {key}: write {PREFIX}.{key}')
            if '.' in key and name in stages:
                raise UserError(f'--cfg-options {key}: write stages.{key} for an option of the stage, or '
                                f'{PREFIX}.{key} for a setting of the config that it runs')

    def _add_options(self, options: Mapping[str, Any], stages: Mapping[str, dict]) -> None:
        """Deals settings out to the configs and stages that their keys begin with."""
        names = [*self.configs, *(name for name in stages if name not in self.configs)]
        for key in options:
            name = owner_of(key, names)
            if name is None:
                raise UserError(f'--cfg-options {PREFIX}.{key}: must begin with the name of a config or a stage and '
                                f'name one of its settings ({closest(key.split(".")[0], names)})')
            if name not in self.configs and 'config' not in stages[name]:
                raise UserError(f'--cfg-options {PREFIX}.{key}: stage {name} runs no config; an option of its own is '
                                f'stages.{key}')
        for name in names:
            part, options = take_options(options, name)
            if part and name in self.configs:
                self.cfg_options[name] = join_options(self.cfg_options.get(name), part)
            elif part:
                stages[name]['cfg_options'] = join_options(stages[name].get('cfg_options'), part)

    def _build(self, name: str, described: Mapping[str, Any]) -> Stage:
        where, options = f'{self.path}: stage {name}', dict(described)
        kind, inputs = options.pop('type', None), options.pop('inputs', None) or {}
        cls = STAGES.get(kind) if isinstance(kind, str) else None
        if cls is None:
            known = sorted(STAGES.module_dict)
            hint = '' if kind else f' (is {name} one of the stages? {closest(name, list(self.stages))})'
            raise UserError(f'{where}: type {kind!r} is not one of {known}{hint}')
        for option in ('inputs', 'cfg_options'):
            if not isinstance(described.get(option) or {}, Mapping):
                raise UserError(f'{where}: {option} must be a dict, not {described[option]!r}')
        inputs = {option: source for option, source in inputs.items() if source is not None}
        if not all(isinstance(source, str) for source in inputs.values()):
            raise UserError(f'{where}: inputs must be a dict of option -> stage or NAME/FOLDER, got {inputs!r}')
        known = [field.name for field in dataclasses.fields(cls) if field.name not in ('name', 'inputs', 'paths')]
        paths = {option: options.pop(option) for option in list(options) if option in cls.INPUTS
                 or (cls.ANY_INPUT and option not in known)}
        if unknown := [option for option in options if option not in known]:
            raise UserError(f'{where}: has no option {unknown[0]!r} ({closest(unknown[0], [*known, *cls.INPUTS])})')
        if unknown := [option for option in inputs if option not in cls.INPUTS and not cls.ANY_INPUT]:
            raise UserError(f'{where}: has no input {unknown[0]!r} ({closest(unknown[0], list(cls.INPUTS))})')
        self._check_inputs(where, cls, inputs, paths)
        try:
            stage = cls(name=name, inputs=dict(inputs), paths=paths, **options)
        except (TypeError, UserError) as error:
            raise UserError(f'{where}: {error}') from error
        if isinstance(stage, ConfigStage) and stage.config not in self.configs:
            raise UserError(f'{where}: {stage.config!r} is not one of the configs {sorted(self.configs)}')
        return stage

    def _check_inputs(self, where: str, cls: type[Stage], inputs: Mapping[str, str], paths: Mapping[str, Any]) -> None:
        if missing := [source for source in inputs.values() if stage_of(source) not in self.stages]:
            raise UserError(f'{where} reads {missing[0]!r}, which is no stage before it')
        if twice := inputs.keys() & paths.keys():
            raise UserError(f'{where}: {twice.pop()!r} is an input and a path; give one')
        if missing := [name for name in cls.REQUIRED if name not in inputs and name not in paths]:
            raise UserError(f'{where}: needs the input {missing[0]!r}; name a stage, as '
                            f'inputs=dict({missing[0]}=NAME), or a path')
        for name, path in paths.items():
            if not isinstance(path, str) or not Path(path).exists():
                raise UserError(f'{where}: {name}={path!r}: no such file or folder')


def splits_of(config: PipelineConfig) -> list[str]:
    """Returns the names of the splits that the stages of a pipeline read."""
    return list(dict.fromkeys(split for stage in config.stages.values() if (split := getattr(stage, 'split', None))))


def stage_of(source: str) -> str:
    """Returns the stage that an input is of: all in front of a slash."""
    return source.partition('/')[0]


def _plain(value: Any) -> Any:
    """Returns dicts in place of ConfigDicts, at every depth, in the same order."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value

