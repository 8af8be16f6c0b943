"""A study: rows of settings, each trained with several seeds and evaluated by several tests, in one table.

What is evaluated are the CAMs of a model (``CAMMetric``) or the predictions of a segmentor (``IoUMetric``).

Its work folder is described in :mod:`mmwsss.experiments.study.study_dir`.

KEY is a digest of all that a training depends on, and every TEST.json holds one of all that the test depends on. What
is there and has the right digest is not made again; a row whose settings or data have changed is. An interrupted
training goes on from its last checkpoint. A TEST.json counts without its checkpoint too, so checkpoints, which are
large, may be deleted, and a study that was run elsewhere can be reported from its json files.
"""
import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from rich.console import Console

from mmwsss.apis import runner
from mmwsss.apis.evaluation_details import add_details
from mmwsss.config.config import innermost
from mmwsss.config.supervision import check_supervision
from mmwsss.config.weight_files import with_weights
from mmwsss.datasets import on_rank_zero
from mmwsss.datasets.data_folder import DataFolder
from mmwsss.experiments.options import naming
from mmwsss.experiments.pipeline.stage_keys import config_parts
from mmwsss.experiments.study.study_config import Row, StudyConfig, evaluator
from mmwsss.experiments.study.study_dir import StudyDir
from mmwsss.experiments.study.study_table import study_lines, study_markdown
from mmwsss.experiments.table_text import duration_text, optional_text
from mmwsss.experiments.training_checks import check_training
from mmwsss.experiments.weight_checks import check_hook_weights
from mmwsss.postprocessing import CRF_PRESETS
from mmwsss.registry import DATASETS
from mmwsss.utils.console import StepLine
from mmwsss.utils.dist import init_dist
from mmwsss.utils.errors import EXIT_DONE, EXIT_SKIPPED, UserError
from mmwsss.utils.fileio import read_json, sha256_of_file, sha256_of_json
from mmwsss.utils.memory import release_memory
from mmwsss.version import __version__


@dataclass(frozen=True)
class _Keys:
    """Digests of all that a training and its tests depend on; ``tests`` has their names."""
    train: str
    tests: dict[str, str]


class Study:
    """Trains and tests the rows of a study config.

    Args:
        path: The study config, see :class:`mmwsss.experiments.study.study_config.StudyConfig`.
        data: The data set, with masks, or its root folder.
        work_dir: Folder of the study.
        weights: File with ImageNet weights for every backbone that is trained, instead of its config's; or {name of a
            config or a row: file}.
        cfg_options: Settings that override the study config, with dotted keys.
        launcher: How the processes were started.
        auto_scale_lr: See :class:`mmwsss.experiments.study.study_config.StudyConfig`.

    Raises:
        UserError: For a missing file, or a setting that does not fit the study or the config of a row.
    """

    def __init__(self, path: str | Path, data: str | Path | DataFolder, work_dir: str | Path,
                 weights: str | Path | Mapping[str, str | Path] | None = None, cfg_options: dict | None = None,
                 launcher: str = 'none', auto_scale_lr: bool = False) -> None:
        self.config = StudyConfig(path, data, weights, cfg_options, auto_scale_lr)
        self.work, self.launcher = StudyDir(work_dir), launcher
        for row in self.config.rows.values():  # a wrong setting shows now, not in an hour
            with self._naming(row, row.seeds[0]):
                if row.checkpoint_of is None:
                    self.config.train_config(row, row.seeds[0])
                for test in row.tests:
                    self.config.test_config(row, row.seeds[0], test)
        init_dist(launcher)
        self._console = Console(stderr=True, quiet=not is_main_process())
        # A config that names another number changes that of the whole process.
        self._num_threads = torch.get_num_threads()
        self._keys: dict[tuple[str, int], _Keys] = {}
        self._data_hashes: dict[str, str] = {}

    def run(self, rows: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> int:
        """Trains and tests what is not there yet, and writes the table after every row.

        Args:
            rows: Names of rows; default all. A row whose checkpoints one of them tests is trained too.
            seeds: Only these of the rows' seeds; default all.

        Returns:
            The exit code: done, or done without files that were left out.

        Raises:
            UserError: From the row that failed, with its name, or if another run is at work in the work folder.
        """
        with self.work.lock.held():
            return self._run(rows, seeds)

    def _run(self, rows: Sequence[str] | None, seeds: Sequence[int] | None) -> int:
        self._prepare()
        known_rows = self.config.rows
        known_seeds = sorted({seed for row in known_rows.values() for seed in row.seeds})
        for option, given, known in (('--rows', rows, list(known_rows)), ('--seeds', seeds, known_seeds)):
            if unknown := [name for name in given or () if name not in known]:
                raise UserError(f'{option} {unknown[0]}: the study has {", ".join(map(str, known))}')
        jobs = [(row, seed) for row in known_rows.values() if rows is None or row.name in rows
                for seed in row.seeds if seeds is None or seed in seeds]
        self._check(jobs)
        incomplete = False
        for number, (row, seed) in enumerate(jobs, start=1):
            with self._naming(row, seed):
                skipped = self._run_row(row, seed, f'[{number}/{len(jobs)}] {_title(row, seed)}')
            if skipped:
                incomplete = True
                path, reason = skipped[0]
                self._say(f'{_title(row, seed)}: {len(skipped)} files left out, e.g. {path}: {reason}', 'yellow')
            self.write_results()
        return EXIT_SKIPPED if incomplete else EXIT_DONE

    def write_results(self) -> str:
        """Writes ``results.md`` and ``results.json`` from the results that are there.

        Returns:
            The text of ``results.md``.
        """
        self._prepare()
        return on_rank_zero(self._write_results)

    def entry(self, row: Row, seed: int, test: str) -> dict[str, Any] | None:
        """Returns the json of a test if it belongs to the settings, the data and the checkpoint of now.

        Args:
            row: A row.
            seed: One of its seeds.
            test: One of its tests.
        """
        self._prepare()
        entry = self.work.entry(row.name, seed, test, self._keys[row.name, seed].tests[test])
        if entry is None:
            return None
        training = self._training(self.config.source(row), seed)
        is_other = training and training['checkpoint_sha256'] != entry['setting']['checkpoint_sha256']
        return None if is_other else entry

    @contextlib.contextmanager
    def _naming(self, row: Row, seed: int) -> Iterator[None]:
        """Puts the row into the message of a user error, and says it before the traceback of a defect."""
        # Options of the row come over all others; but its name may need quotes, or be that of a config.
        is_plain = re.fullmatch(r'[\w+-]+', row.name) and row.name not in self.config.configs
        try:
            with naming(_title(row, seed), row.name if is_plain else row.config):
                yield
        except UserError:
            raise
        except Exception:
            print(f'{_title(row, seed)} has failed', file=sys.stderr)
            raise

    def _check(self, jobs: Sequence[tuple[Row, int]]) -> None:
        """Checks what the trainings and tests that are to be done need: what is missing shows now, not in a day."""
        trainings = {(self.config.source(row).name, seed) for row, seed in jobs
                     if any(self.entry(row, seed, test) is None for test in row.tests)}
        for name, seed in sorted(trainings):
            row = self.config.rows[name]
            if self._training(row, seed) is None:
                with self._naming(row, seed):
                    cfg = self.config.train_config(row, seed)
                    check_supervision(cfg)
                    check_training(cfg, self.config.data, innermost(cfg.train_dataloader.dataset).get('split'))
        tests = {(row.name, test) for row, seed in jobs for test in row.tests if self.entry(row, seed, test) is None}
        for name, test in sorted(tests):
            row = self.config.rows[name]
            with self._naming(row, row.seeds[0]):
                check_hook_weights(self._test_config(row, row.seeds[0], test))

    def _say(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _run_row(self, row: Row, seed: int, title: str) -> list[Sequence[str]]:
        """Does what is missing of a row with a seed; returns what training and tests have left out."""
        def missing() -> list[str]:
            return on_rank_zero(lambda: [test for test in row.tests if self.entry(row, seed, test) is None])

        if not missing():
            self._say(f'{title}: complete, reused')
        else:
            training = self._train(self.config.source(row), seed, title)
            for test in missing():  # again: a checkpoint that was made again is another one
                with StepLine(f'{title}: test {test}', quiet=not is_main_process()) as line:
                    metrics = self._test(row, seed, test, training)
                    oracle = ' (oracle)' if metrics.get('oracle_threshold', True) else ''
                    line.result = f'mIoU {optional_text(metrics["mIoU"], ".2f", 100)} %{oracle}'
        entries = on_rank_zero(lambda: [self.entry(row, seed, test) for test in row.tests])
        return [file for entry in entries for file in entry.get('skipped', ())]

    def _train(self, row: Row, seed: int, title: str) -> dict[str, Any]:
        """Trains, where that is not done; returns what ``complete.json`` says."""
        if done := on_rank_zero(lambda: self._finished_training(row, seed)):
            return done
        self._clean_up()
        folder, cfg = self._train_folder(row, seed), self.config.train_config(row, seed)
        epochs = cfg.train_cfg.get('max_epochs')
        with StepLine(f'{title}: training of {row.name}', quiet=not is_main_process()) as line:
            started = time.monotonic()
            result = runner.train(cfg, folder, resume=True, launcher=self.launcher)
            line.result = duration_text(time.monotonic() - started)

        def finish() -> dict[str, Any]:
            seconds = _iteration_times('train/time')
            times = dict(seconds=float(seconds.sum()), iterations=len(seconds),
                         seconds_per_iteration=float(np.median(seconds)) if len(seconds) else None)
            return self.work.finish_training(
                row.name, seed, self._keys[row.name, seed].train, checkpoint=result.checkpoint.name, epochs=epochs,
                times=times, checkpoint_sha256=sha256_of_file(result.checkpoint), skipped=result.skipped)

        return on_rank_zero(finish)

    def _finished_training(self, row: Row, seed: int) -> dict[str, Any] | None:
        folder, done = self._train_folder(row, seed), self._training(row, seed)
        if done is None or not (folder / done['checkpoint']).is_file():
            return None
        if sha256_of_file(folder / done['checkpoint']) != done['checkpoint_sha256']:
            raise UserError(f'{folder / done["checkpoint"]}: has changed since the training; delete {folder} to train '
                            'again')
        return done

    def _test(self, row: Row, seed: int, test: str, training: dict[str, Any]) -> dict[str, Any]:
        config, source = self.config, self.config.source(row)
        logs, keys = self.work.logs(row.name, seed, test), self._keys[row.name, seed]
        self._clean_up()
        cfg, weights = self._test_config(row, seed, test), config.weights_of(source)
        setting = dict(
            config=config.config_names[row.config], trained_config=config.config_names[source.config],
            checkpoint_of=row.checkpoint_of, cfg_options=[config.options_of(row), row.cfg_options],
            trained_cfg_options=[config.options_of(source), source.cfg_options],
            test_options=[row.test_options, config.tests[test]], seed=seed, epochs=training['epochs'],
            weights_sha256=weights and sha256_of_file(weights), checkpoint_sha256=training['checkpoint_sha256'],
            train_key=keys.train, config_hash=sha256_of_json(_test_parts(cfg)), split=config.split,
            only_num_images=config.num_images, version=__version__)
        report_file = self.work.report_file(row.name, seed, test)
        (evaluator(cfg, 'CAMMetric') or evaluator(cfg, 'IoUMetric')).out_file = str(report_file)
        cams = logs / 'cams'
        if row.crf:
            writer = dict(type='CAMWriter', out_dir=str(cams), stride=cfg.model.get('test_cfg', {}).get('stride', 4))
            cfg.test_evaluator = [*(cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple))
                                    else [cfg.test_evaluator]), writer]
            on_rank_zero(lambda: shutil.rmtree(cams, ignore_errors=True))
        on_rank_zero(lambda: report_file.unlink(missing_ok=True))
        checkpoint = self._train_folder(source, seed) / training['checkpoint']
        result = runner.test(cfg, checkpoint, logs, self.launcher)

        def finish() -> dict[str, Any]:
            seconds = float(_iteration_times('test/time').sum())
            report = read_json(report_file)
            if row.crf:
                report['with_crf'] = self._with_crf(row, cfg, cams, report, result.skipped)
                shutil.rmtree(cams)
            del report['curve']  # most of the report, which stays in its own file
            setting.update(num_images=report['num_images'], class_filter=report.get('class_filter'),
                           threads=torch.get_num_threads(),
                           device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu')
            self.work.write_entry(
                row.name, seed, test, keys.tests[test], setting=setting, metrics=report, training=training['times'],
                skipped=[*training.get('skipped', ()), *result.skipped],
                testing=dict(seconds=seconds, seconds_per_image=seconds / report['num_images'] if seconds else None))
            return report

        return on_rank_zero(finish)

    def _with_crf(self, row: Row, cfg: Config, cams: Path, report: dict[str, Any],
                  skipped: list[Sequence[str]]) -> dict[str, Any]:
        """Returns the mIoU of CAM files with the row's CRF at their best threshold, of all and by number of classes."""
        found = add_details(
            dict(report, skipped=skipped), cams, self.config.data, cfg.test_dataloader.dataset.split,
            [dict(type='DenseCRF', **CRF_PRESETS[row.crf])])['refined']
        return dict(crf=row.crf, mIoU=found['mIoU'],
                    by_num_classes={name: group['mIoU'] for name, group in found['by_num_classes'].items()})

    def _clean_up(self) -> None:
        release_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        torch.set_num_threads(self._num_threads)

    def _write_results(self) -> str:
        config = self.config
        tests = [(row, test) for row in config.rows.values() for test in row.tests]
        entries = {(row.name, test, seed): entry for row, test in tests for seed in row.seeds
                   if (entry := self.entry(row, seed, test))}
        lines = study_lines([(row.name, test, row.seeds, row.baseline or config.baseline) for row, test in tests],
                            entries, config.baseline,
                            [row.name for row in config.rows.values() if row.over_tests])
        text = study_markdown(lines, list(entries.values()), config.baseline,
                              f'{config.path.stem} on {config.data.root}')
        self.work.write_results(text, study=config.path.name, split=config.split, lines=lines,
                                only_num_images=config.num_images, baseline=config.baseline)
        return text

    def _prepare(self) -> None:
        """Finds all keys, once. All processes do it, since they share the work of listing data."""
        if self._keys:
            return
        if self.config.num_images is not None:
            on_rank_zero(lambda: self.work.write_list(self.config.split, self.config.num_images,
                                                      self.config.data.stems(self.config.split)))
        rows = sorted(self.config.rows.values(), key=lambda row: row.checkpoint_of is not None)  # the trained first
        for row in rows:
            for seed in row.seeds:
                with self._naming(row, seed):
                    self._keys[row.name, seed] = self._find_keys(row, seed)

    def _find_keys(self, row: Row, seed: int) -> _Keys:
        if row.checkpoint_of is None:
            cfg = self.config.train_config(row, seed)
            train = sha256_of_json([config_parts(cfg, 'train'), self._data_hash(cfg, 'train_dataloader')])
        else:
            train = self._keys[row.checkpoint_of, seed].train
        tests = {}
        for test in row.tests:
            cfg = self._test_config(row, seed, test)
            tests[test] = sha256_of_json([train, _test_parts(cfg), self._data_hash(cfg, 'test_dataloader'),
                                          *([CRF_PRESETS[row.crf]] if row.crf else [])])
        return _Keys(train, tests)

    def _data_hash(self, cfg: Config, loader: str) -> str:
        """Returns a digest of what a data set lists. Times of files are not in it: data may be copied."""
        dataset_cfg = cfg[loader].dataset.to_dict()
        # The seed does not change the list, and the pipeline is in the digest of the config.
        memo = sha256_of_json({key: value for key, value in dataset_cfg.items() if key not in ('seed', 'pipeline')})
        if memo not in self._data_hashes:
            init_default_scope(cfg.get('default_scope', 'mmwsss'))
            dataset = DATASETS.build(dict(dataset_cfg, pipeline=[]))
            files = ['img_path', *(name for name, is_used in (
                ('seg_map_path', getattr(dataset, 'require_masks', True)),
                ('saliency_path', getattr(dataset, 'require_saliency', True))) if is_used)]
            self._data_hashes[memo] = sha256_of_json([dataset.metainfo.get('classes'), [
                _describe(dataset.get_data_info(index), files) for index in range(len(dataset))]])
        return self._data_hashes[memo]

    def _test_config(self, row: Row, seed: int, test: str) -> Config:
        cfg = self.config.test_config(row, seed, test)
        split, count = self.config.split, self.config.num_images
        cfg.test_dataloader.dataset.split = split if count is None else str(self.work.list_file(split, count).resolve())
        return cfg

    def _train_folder(self, row: Row, seed: int) -> Path:
        return self.work.train_folder(row.name, seed, self._keys[row.name, seed].train)

    def _training(self, row: Row, seed: int) -> dict[str, Any] | None:
        return self.work.training(row.name, seed, self._keys[row.name, seed].train)


def _title(row: Row, seed: int) -> str:
    return f'row {row.name}, seed {seed}'


def _test_parts(cfg: Config) -> list[Any]:
    return [config_parts(cfg, 'test'), with_weights(cfg.get('custom_hooks'))]


def _describe(info: dict[str, Any], files: Sequence[str]) -> list[Any]:
    """Name, labels and sizes of an image and of the files that go with it."""
    label = info.get('gt_img_label')
    return [info.get('stem') or Path(info['img_path']).name, info.get('height'), info.get('width'),
            None if label is None else label.nonzero()[0].tolist(),
            [os.path.getsize(info[name]) if info.get(name) else None for name in files]]


def _iteration_times(name: str) -> np.ndarray:
    """Returns the seconds of every iteration of the last run, from MMEngine's ``IterTimerHook``.

    The times of a training are in its checkpoints, so those of a resumed one are complete.
    """
    scalars = MessageHub.get_current_instance().log_scalars
    return np.asarray(scalars[name].data[0], np.float64) if name in scalars else np.zeros(0)

