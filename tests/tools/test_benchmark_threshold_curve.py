
import numpy as np
import pytest


@pytest.fixture(scope='module')
def benchmark(load_tool):
    module = load_tool('benchmark/threshold_curve.py')
    return module


def test_three_ways_agree(benchmark):
    ms = benchmark.measure((40, 30), 5, 2, 7, 2)
    assert set(ms) == {'ours', 'obvious', 'careful'} and min(ms.values()) > 0


def test_comparison_can_fail(benchmark):
    samples = benchmark.make_samples(2, (40, 30), 5, 2, seed=1)
    thresholds = np.float32([.1, .4, .6])
    histogram = benchmark.ours(samples, thresholds, 5)
    confusion = benchmark.obvious_loop(samples, thresholds, 5)
    benchmark.assert_equal(histogram, confusion)
    np.testing.assert_array_equal(confusion, benchmark.careful_loop(samples, thresholds, 5))
    confusion[1, 2, 0] += 1
    confusion[1, 0, 0] -= 1
    with pytest.raises(AssertionError):
        benchmark.assert_equal(histogram, confusion)


def test_prints_the_ratio(benchmark, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, 'measure', lambda *_: dict(ours=2., obvious=90., careful=40.))
    assert benchmark.main([]) == 0
    assert 'lowest ratio to the obvious loop: 45 x' in capsys.readouterr().out
