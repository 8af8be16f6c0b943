import json

import pytest

from mmwsss.cli.run_cli import run_cli
from mmwsss.utils.errors import UserError


@pytest.fixture
def benchmark(load_tool):
    return load_tool('benchmark/backbone_step.py')


def test_both_ways_are_timed(benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert benchmark.main(['--batch-size', '1', '--size', '32', '--rounds', '1', '--out', str(out)]) == 0
    assert '32 x 32' in capsys.readouterr().out
    seconds = json.loads(out.read_text())['seconds']
    assert set(seconds) == {'forward', 'forward and backward'}
    assert all(set(ways) == {'obvious', 'ours'} and min(ways.values()) > 0 for ways in seconds.values())


def test_different_results_are_an_error(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, 'obvious', lambda conv, norm, x: 1.5 * norm(conv(x)))
    with pytest.raises(UserError, match='both ways differ by'):
        benchmark.main(['--batch-size', '1', '--size', '32', '--rounds', '1'])


def test_wrong_arguments(benchmark, capsys):
    with pytest.raises(SystemExit):
        run_cli(lambda: benchmark.main(['--size', '0']))
    assert 'at least 1' in capsys.readouterr().err
