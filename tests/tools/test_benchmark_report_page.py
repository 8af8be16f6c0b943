import json
import re
import subprocess

import numpy as np
import pytest

from mmwsss.cli.main import main
from mmwsss.datasets import DataFolder
from mmwsss.utils.errors import UserError


@pytest.fixture(scope='module')
def benchmark(load_tool):
    return load_tool('benchmark/report_page.py')


def test_the_folder_is_one_that_a_report_is_made_of(benchmark, generated_root, tmp_path, capsys):
    run = benchmark.make_work_dir(str(generated_root), tmp_path, 50)
    data = DataFolder.find(tmp_path / 'data')
    assert [len(data.stems(split)) for split in ('train', 'val')] == [40, 10] and len(data.mask_paths()) == 50
    assert len(list((run / 'cam/cam').glob('*.npz'))) == len(list((run / 'label/labels').glob('*.png'))) == 40
    with pytest.raises(SystemExit) as stop:
        main(['report', str(run), '--num-images', '20'])
    assert stop.value.code == 0
    text = (run / 'report.html').read_text()
    assert '20 of 50 images, a sample evenly spread' in text
    items = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])['items']
    assert sum(item['folders'][0]['cam'] is not None for item in items) == 10


def test_a_cam_is_high_where_the_mask_is(benchmark):
    mask = np.zeros((64, 48), np.uint8)
    mask[:32], mask[:, :8] = 2, 255
    cam = benchmark.blurred_cam(mask, np.random.default_rng(0))
    assert cam.classes.tolist() == [1] and cam.cam.shape == (1, 16, 12) and cam.size == (64, 48)
    assert cam.cam[0, :6, 3:].mean() > cam.cam[0, 10:, 3:].mean() + .3


def test_what_is_measured_and_told(benchmark, tmp_path, monkeypatch, capsys):
    (tmp_path / 'run').mkdir()
    started = []

    def popen(words):
        started.append(words)
        (tmp_path / 'run/report.html').write_text('<p>4 of 1,000 images, a sample evenly spread. What' + ' ' * 10 ** 6)
        return real(['true'])

    real = subprocess.Popen
    monkeypatch.setattr(benchmark.subprocess, 'Popen', popen)
    assert benchmark.main(['DATA', str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert started[0][1:] == ['-m', 'mmwsss', 'report', str(tmp_path / 'run')]
    assert 'page of 1.0 MB: 4 of 1,000 images, a sample evenly spread' in out
    monkeypatch.setattr(benchmark.subprocess, 'Popen', lambda words: real(['false']))
    with pytest.raises(UserError, match='exit code 1'):
        benchmark.main(['DATA', str(tmp_path)])


def test_data_without_masks(benchmark, generated_copy, tmp_path):
    for path in (generated_copy / 'SegmentationClass').iterdir():
        path.unlink()
    with pytest.raises(UserError, match='has no masks'):
        benchmark.make_work_dir(str(generated_copy), tmp_path / 'new', 10)
