"""The work folder of a study: its files are read and written here and nowhere else.

::

    results.md, results.json        the table (mmwsss.experiments.study.study_table), written anew after every row
    study.log                       the log of all runs
    run.lock                        what the run that is at work holds, see mmwsss.experiments.run_lock
    train_300.txt                   the images that are evaluated, where num_images is set
    ROW/seed0/TEST.json             what a test of a row and a seed has measured, and with which setting
    ROW/seed0/TEST_logs/            logs of the test, and the whole report of CAMMetric
    ROW/seed0/train_KEY/            logs and checkpoint of the training; complete.json is written last
"""
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmwsss.experiments.run_lock import RunLock
from mmwsss.utils.fileio import read_json, write_bytes, write_json

COMPLETE, REPORT, RESULTS, RESULTS_TEXT = 'complete.json', 'report.json', 'results.json', 'results.md'
LOG = 'study.log'


class StudyDir:
    """The work folder of a study. In a distributed run, only one process may call what writes.

    Args:
        path: The folder, which need not exist.

    Attributes:
        lock: What a run holds, so that there is no other.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lock = RunLock(path)

    def list_file(self, split: str, num_images: int) -> Path:
        """Returns the list of the images that are evaluated."""
        return self.path / f'{Path(split).stem}_{num_images}.txt'

    def write_list(self, split: str, num_images: int, stems: Sequence[str]) -> None:
        """Writes the list of the images that are evaluated: so many, evenly spread over the stems."""
        count = min(num_images, len(stems))
        chosen = [stems[i * len(stems) // count] for i in range(count)]
        self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.list_file(split, num_images), ('\n'.join(chosen) + '\n').encode())

    def logs(self, row: str, seed: int, test: str) -> Path:
        """Returns the folder for logs of a test."""
        return self._row(row, seed) / f'{file_name(test)}_logs'

    def report_file(self, row: str, seed: int, test: str) -> Path:
        """Returns where the whole report of a test goes."""
        return self.logs(row, seed, test) / REPORT

    def train_folder(self, row: str, seed: int, key: str) -> Path:
        """Returns the folder of a training."""
        return self._row(row, seed) / f'train_{key[:12]}'

    def training(self, row: str, seed: int, key: str) -> dict[str, Any] | None:
        """Returns what a training that has come to its end has left; ``None`` if it has another key."""
        done = _read_state(self.train_folder(row, seed, key) / COMPLETE)
        return done if done.get('key') == key else None

    def finish_training(self, row: str, seed: int, key: str, **values: Any) -> dict[str, Any]:
        """Notes that a training has come to its end; returns what :meth:`training` does then."""
        return _write(self.train_folder(row, seed, key) / COMPLETE, dict(key=key, **values))

    def entry(self, row: str, seed: int, test: str, key: str) -> dict[str, Any] | None:
        """Returns what a test has left; ``None`` if there is nothing with this key."""
        entry = _read_state(self._entry_file(row, seed, test))
        return entry if entry.get('key') == key else None

    def write_entry(self, row: str, seed: int, test: str, key: str, **values: Any) -> None:
        """Notes what a test has measured."""
        _write(self._entry_file(row, seed, test), dict(key=key, row=row, seed=seed, test=test, **values))

    def write_results(self, text: str, **values: Any) -> None:
        """Writes the table as text and as json."""
        _write(self.path / RESULTS, values)
        write_bytes(self.path / RESULTS_TEXT, text.encode())

    def _row(self, row: str, seed: int) -> Path:
        return self.path / file_name(row) / f'seed{seed}'

    def _entry_file(self, row: str, seed: int, test: str) -> Path:
        return self._row(row, seed) / f'{file_name(test)}.json'


def file_name(name: str) -> str:
    """Returns the name of a row or a test as a file's; empty if nothing of it can be in one."""
    return re.sub(r'[^\w.+-]+', '_', name).strip('._')


def _write(path: Path, value: dict[str, Any]) -> dict[str, Any]:
    """Writes a json file and returns what a reader gets of it; what json does not know, of a config, as text."""
    value = json.loads(json.dumps(value, default=str))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)
    return value


def _read_state(path: Path) -> dict[str, Any]:
    """Returns what a json file holds; nothing where it is missing or damaged."""
    try:
        state = read_json(path)
    except ValueError:
        state = None
    return state if isinstance(state, dict) else {}
