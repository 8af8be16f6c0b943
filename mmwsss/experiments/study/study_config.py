"""Reading the config of a study: its rows, its tests, and the config of every training and test."""
import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmwsss.config.config import fit_to_data, merge_options, read_config, scale_lr_by_batch, set_backbone_weights
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.options import PREFIX, flat_options, join_options, take_options
from mmwsss.experiments.splits import check_splits
from mmwsss.experiments.study.study_dir import file_name
from mmwsss.experiments.weights import check_weights_option, weights_for
from mmwsss.postprocessing import CRF_PRESETS
from mmwsss.utils.errors import UserError

SETTINGS = ('configs', 'split', 'num_images', 'seeds', PREFIX, 'tests', 'rows', 'baseline', 'custom_imports')


@dataclass(frozen=True)
class Row:
    """A row of a study.

    Attributes:
        name: Its name in the table.
        config: The name of its config in ``configs``.
        cfg_options: Settings over the config and over the study's, for training and tests.
        test_options: Settings for all tests of the row; those of the test come over them.
        seeds: Seeds of its trainings; default the study's, or those of the row ``checkpoint_of``.
        tests: Names of its tests; default all of the study's.
        checkpoint_of: The row whose checkpoints it tests, seed by seed. ``None``: it is trained itself.
        baseline: The row that its results are compared with; default the study's.
        crf: Its CAMs are evaluated with a dense CRF at their best threshold too: ``'label'`` or ``'softmax'``, see
            :data:`mmwsss.postprocessing.CRF_PRESETS`.
        over_tests: The table has a line with mean and standard deviation over its tests, such as scales.
    """
    name: str
    config: str
    cfg_options: dict[str, Any] = field(default_factory=dict)
    test_options: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    tests: tuple[str, ...] = ()
    checkpoint_of: str | None = None
    baseline: str | None = None
    crf: str | None = None
    over_tests: bool = False


class StudyConfig:
    """What a study config says, checked.

    Args:
        path: The study config:

            * ``configs``: {name: config file, relative to the study config}.
            * ``rows``: list of dicts with the keys of :class:`Row`; ``name`` and ``config`` are required.
            * ``tests``: {name: settings with dotted keys}; default one test with the settings of the row.
            * ``seeds``: of the rows that name none; default ``(0,)``. A seed is ``randomness.seed`` of a training.
            * ``cfg_options``: settings with dotted keys, for all rows; behind the name of a config or of a row, for it
              only.
            * ``split``: the images that are evaluated; default ``'train'``. ``num_images``: evaluate only so many of
              them, evenly spread and always the same ones; default ``None``, all.
            * ``baseline``: name of the row that the others are compared with; default the first.
        data: The data set, or its root folder.
        weights: File with weights for every backbone that is trained, instead of its config's; or {name of a config or
            a row: file}.
        cfg_options: Settings that override the study config, with dotted keys, e.g.
            ``num_images=20 cfg_options.train_cfg.max_epochs=1 cfg_options.seam.train_dataloader.batch_size=4``.
        auto_scale_lr: Whether batches are those of each process, and learning rates grow with their total, see
            :func:`mmwsss.config.config.scale_lr_by_batch`.

    Attributes:
        data: The data set.
        configs: {name: path of the config file}.
        config_names: {name: the file as the study config names it}.
        rows: {name: row}, in their order.
        tests: {name: settings}, in their order.
        cfg_options: Settings for all rows.
        config_options: {name of a config: settings for it}.

    Raises:
        UserError: For a missing file, or a setting, row or test that does not fit.
    """

    def __init__(self, path: str | Path, data: str | Path | DataFolder,
                 weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
                 auto_scale_lr: bool = False) -> None:
        self.path, self.data, self.auto_scale_lr = Path(path), DataFolder.find(data), auto_scale_lr
        over, own = take_options(cfg_options, PREFIX)
        config = merge_options(read_config(self.path), own, SETTINGS)
        self._check_form(config)
        self.config_names = dict(config.get('configs') or {})
        self.configs = {name: (self.path.parent / file).resolve() for name, file in self.config_names.items()}
        self._files: dict[str, Config] = {}  # every file is read for many rows, seeds and tests
        self.split, self.num_images = config.get('split', 'train'), config.get('num_images')
        names = [*self.configs, *(row['name'] for row in config.rows)]
        self.weights = check_weights_option(weights, names)
        self.cfg_options = join_options(flat_options(config.get(PREFIX) or {}), over)
        own_options = {}
        for name in names:  # of a name that is both, the config's
            part, self.cfg_options = take_options(self.cfg_options, name)
            own_options.setdefault(name, part)
        self.config_options = {name: own_options[name] for name in self.configs}
        self._row_options = {name: options for name, options in own_options.items() if name not in self.configs}
        self.tests = {name: flat_options(options) for name, options in (config.get('tests') or {'test': {}}).items()}
        self.seeds = tuple(config.get('seeds', (0,)))
        for what, names in (('row', [row['name'] for row in config.rows]), ('test', list(self.tests))):
            if len({file_name(name) for name in names} - {''}) < len(names):
                raise UserError(f'{self.path}: every {what} needs a name of its own, with letters or digits, for its '
                                f'files; got {names}')
        given = {row['name']: row.to_dict() for row in config.rows}
        self.rows = {name: self._read_row(row, given) for name, row in given.items()}
        self.baseline = config.get('baseline') or next(iter(self.rows))
        for name in (self.baseline, *(row.baseline for row in self.rows.values())):
            if name not in (None, *self.rows):
                raise UserError(f'{self.path}: baseline {name!r} is not one of the rows {list(self.rows)}')
        check_splits(self.data, [self.split], 'a study')

    def _check_form(self, config: Config) -> None:
        for name in config.keys() - set(SETTINGS):  # helpers of the file, unless they look like a slip
            if close := difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.8):
                raise UserError(f'{self.path}: {name!r} is no setting of a study (closest: {close[0]!r}); rename it')
        rows, split, count = config.get('rows'), config.get('split', 'train'), config.get('num_images')
        dicts = [config.get(name) or {} for name in ('configs', 'cfg_options', 'tests')]
        if not all(isinstance(value, dict) for value in dicts) or not all(
                isinstance(options, dict) for options in dicts[2].values()):
            raise UserError(f'{self.path}: configs, cfg_options, tests and every test in it must be dicts')
        if not isinstance(rows, (list, tuple)) or not rows or not all(
                isinstance(row, ConfigDict) and isinstance(row.get('name'), str) for row in rows):
            raise UserError(f'{self.path}: rows must be a list of dicts, each with a name')
        if not isinstance(split, str):
            raise UserError(f'{self.path}: split must name the images that are evaluated, not {split!r}')
        if count is not None and (not isinstance(count, int) or count < 1):
            raise UserError(f'{self.path}: num_images must be at least 1, or None for all, not {count!r}')
        _check_seeds(config.get('seeds', (0,)), str(self.path))

    def _read_row(self, row: dict[str, Any], rows: Mapping[str, dict[str, Any]]) -> Row:
        where = f'{self.path}: row {row["name"]}'
        if unknown := sorted(row.keys() - {f.name for f in fields(Row)}):
            raise UserError(f'{where}: has no setting {unknown[0]!r}; known are {[f.name for f in fields(Row)]}')
        if row.get('config') not in self.configs:
            raise UserError(f'{where}: {row.get("config")!r} is not one of the configs {sorted(self.configs)}')
        options = {name: row.get(name) or {} for name in ('cfg_options', 'test_options')}
        if not all(isinstance(value, dict) for value in options.values()):
            raise UserError(f'{where}: cfg_options and test_options must be dicts')
        options = {name: flat_options(value) for name, value in options.items()}
        options['cfg_options'] = join_options(options['cfg_options'], self._row_options.get(row['name']))
        given = (self.cfg_options, self.config_options[row['config']], *options.values())
        if any('randomness.seed' in settings for settings in given):
            raise UserError(f'{where}: name the seeds as seeds=(0, 1, 2), not as randomness.seed')
        if row.get('crf') not in (None, *CRF_PRESETS):
            raise UserError(f'{where}: crf is one of {", ".join(CRF_PRESETS)}, not {row["crf"]!r}')
        tests = row.get('tests', list(self.tests))
        if isinstance(tests, str) or not tests or not set(tests) <= set(self.tests):
            raise UserError(f'{where}: tests must be a list of some of {list(self.tests)}, not {tests!r}')
        source = rows.get(row.get('checkpoint_of'))
        if row.get('checkpoint_of') and (source is None or source.get('checkpoint_of')):
            raise UserError(f'{where}: checkpoint_of={row["checkpoint_of"]!r} is no row that is trained')
        trained = self.seeds if source is None else source.get('seeds', self.seeds)
        seeds = row.get('seeds', trained)
        _check_seeds(seeds, where)
        if source is not None and not set(seeds) <= set(trained):
            raise UserError(f'{where}: row {source["name"]} has the seeds {tuple(trained)}, not all of {tuple(seeds)}')
        return Row(row['name'], row['config'], seeds=tuple(seeds), tests=tuple(tests),
                   checkpoint_of=row.get('checkpoint_of'), baseline=row.get('baseline'),
                   crf=row.get('crf'), over_tests=bool(row.get('over_tests')), **options)

    def options_of(self, row: Row) -> dict[str, Any]:
        """Returns the settings over the config of a row that are not its own: those for all rows and for its config."""
        return join_options(self.cfg_options, self.config_options[row.config])

    def source(self, row: Row) -> Row:
        """Returns the row whose checkpoints a row tests: itself, or ``checkpoint_of``."""
        return row if row.checkpoint_of is None else self.rows[row.checkpoint_of]

    def train_config(self, row: Row, seed: int) -> Config:
        """Loads the config of a training.

        Args:
            row: A row that is trained.
            seed: The seed.

        Returns:
            The config, fitted to the data.

        Raises:
            UserError: If a setting does not fit, or if the config trains nothing.
        """
        cfg = self._load(row, seed)
        if not cfg.get('train_dataloader'):
            raise UserError(f'{self.configs[row.config]}: has no train_dataloader; name a config that has, or test the '
                            "checkpoints of another row with checkpoint_of='ROW'")
        if (weights := self.weights_of(row)) is not None:
            set_backbone_weights(cfg.model, weights)
        return cfg

    def weights_of(self, row: Row) -> str | None:
        """Returns the file of weights that the training of a row begins with, where one was given."""
        return weights_for(self.weights, row.name, row.config)

    def test_config(self, row: Row, seed: int, test: str) -> Config:
        """Loads the config of a test.

        Args:
            row: A row.
            seed: The seed.
            test: The name of a test.

        Returns:
            The config, fitted to the data; it evaluates the config's split.

        Raises:
            UserError: If a setting does not fit, or if the config evaluates neither CAMs nor a segmentor.
        """
        cfg = self._load(row, seed, row.test_options, self.tests[test])
        if row.crf and evaluator(cfg, 'CAMMetric') is None:
            raise UserError(f'{self.path}: row {row.name}: crf is for CAMs, but {self.configs[row.config]} has no '
                            'CAMMetric in test_evaluator')
        if not cfg.get('test_dataloader') or not any(evaluator(cfg, name) for name in ('CAMMetric', 'IoUMetric')):
            raise UserError(f'{self.configs[row.config]}: has no test_dataloader, or neither CAMMetric nor IoUMetric '
                            'in test_evaluator; a study evaluates CAMs or segmentors')
        return cfg

    def _load(self, row: Row, seed: int, *further: dict[str, Any]) -> Config:
        if row.config not in self._files:
            self._files[row.config] = read_config(self.configs[row.config])
        cfg = copy.deepcopy(self._files[row.config])
        # One after the other: a later one may name a part of a list that an earlier one has replaced. The seed is
        # set before the config is fitted to the data, which hands it on to the data set.
        for options in (self.cfg_options, self.config_options[row.config], row.cfg_options, *further,
                        {'randomness.seed': seed}):
            merge_options(cfg, options)
        if cfg.get('model') is None:
            raise UserError(f'{self.configs[row.config]}: has no model; this is not the config of a training or a test')
        if self.auto_scale_lr and cfg.get('train_dataloader'):
            scale_lr_by_batch(cfg, self._files[row.config].train_dataloader.get('batch_size', 1))
        return fit_to_data(cfg, self.data)


def evaluator(cfg: Config, name: str) -> ConfigDict | None:
    """Returns the test evaluator of a type in a config, if there is one."""
    evaluators = cfg.get('test_evaluator') or []
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    return next((found for found in evaluators if found.get('type') == name), None)


def _check_seeds(seeds: Any, where: str) -> None:
    if not isinstance(seeds, Sequence) or not seeds or len(set(seeds)) < len(seeds) or not all(
            isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise UserError(f'{where}: seeds must be a list of different whole numbers, not {seeds!r}')

