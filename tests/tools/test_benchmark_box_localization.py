import numpy as np
import pytest

from mmwsss.structures import CAMFile, write_cam


@pytest.fixture(scope='module')
def benchmark(load_tool):
    return load_tool('benchmark/box_localization.py')


def test_three_ways_agree(benchmark):
    ms = benchmark.measure(benchmark.smooth_maps(1, 7), np.arange(20) / 20, rounds=1)
    assert set(ms) == {'ours', 'loop', 'careful'} and min(ms.values()) > 0


def test_comparison_can_fail(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, 'inclusive_iou', lambda box: 1.)
    with pytest.raises(AssertionError):
        benchmark.measure(benchmark.smooth_maps(1, 7), np.arange(20) / 20, rounds=1)


def test_prints_the_ratio(benchmark, capsys, monkeypatch, tmp_path):
    cam = np.random.default_rng(0).random((1, 5, 6)).astype(np.float16)
    write_cam(tmp_path / 'a.npz', CAMFile(np.array([3]), cam, (20, 24)))
    seen = []
    monkeypatch.setattr(benchmark, 'measure', lambda maps, *_: seen.append(len(maps)) or dict(
        ours=2., loop=90., careful=40.))
    assert benchmark.main(['--maps', '2', '--cams', str(tmp_path)]) == 0
    assert seen == [2, 2, 2, 1] and 'lowest ratio to the loop: 45 x' in capsys.readouterr().out
