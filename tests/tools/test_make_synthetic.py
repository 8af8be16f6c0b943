import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from warm_python import warm_python

REPO = Path(__file__).parents[2]
TOOL = REPO / 'tools' / 'dataset_converters' / 'make_synthetic.py'


def run(*args) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'PYTHONPATH': str(REPO)}
    return subprocess.run([warm_python(), str(TOOL), *map(str, args)], capture_output=True, text=True,
                          env=environment, timeout=60)


@pytest.fixture
def run_here(monkeypatch, capsys):
    """The same in this process, which has imported everything already."""
    def run_here(*args) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(TOOL), run_name='__main__')
        return subprocess.CompletedProcess(args, end.value.code, *capsys.readouterr())
    return run_here


def test_writes_a_data_set_then_grows_it(tmp_path, run_here):
    out = tmp_path / 'data'
    options = ['--num-classes', 3, '--size', 40, 32, '--seed', 4, '--empty-habitats', .5, '--no-ignore-border']
    done = run(out, '--num-train', 3, '--num-val', 2, *options)
    assert done.returncode == 0, done.stderr
    assert '3 train and 2 val images, 3 classes' in done.stdout
    assert len(list((out / 'JPEGImages').glob('*.jpg'))) == 5

    grown = run_here(out, '--num-train', 5, '--num-val', 2, *options)
    assert grown.returncode == 0, grown.stderr
    parameters = json.loads((out / 'synthetic.json').read_text())
    assert parameters == {'version': 1, 'num_train': 5, 'num_val': 2, 'num_classes': 3, 'size': [40, 32], 'seed': 4,
                          'max_classes_per_image': 3, 'empty_habitats': .5, 'ignore_border': False}
    assert len((out / 'ImageSets' / 'train.txt').read_text().split()) == 5


def test_mistakes_end_in_one_line(tmp_path, run_here):
    (tmp_path / 'mine.txt').write_text('keep')
    for args, word in (((tmp_path,), 'holds other data'), ((tmp_path / 'new', '--num-classes', 201), 'num_classes'),
                       ((tmp_path / 'new', '--size', 32, 32, 32), '--size')):
        failed = run_here(*args)
        assert failed.returncode == 1
        assert len(failed.stderr.strip().splitlines()) == 1 and word in failed.stderr
    assert not (tmp_path / 'new').exists()
