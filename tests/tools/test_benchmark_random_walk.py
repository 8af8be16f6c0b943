import gc
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from warm_python import warm_python

from mmwsss.cli.run_cli import run_cli
from mmwsss.models.affinity.random_walk import RandomWalk

TOOL = Path(__file__).parents[2] / 'tools/benchmark/random_walk.py'


@pytest.fixture(scope='module')
def benchmark(load_tool):
    return load_tool('benchmark/random_walk.py')


def test_every_way_is_timed(benchmark, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, 'TARGET_PIXELS', 12 * 9)
    out = tmp_path / 'figures.json'
    assert benchmark.main(['--sizes', '7x8', '12x9', '16x10', '--max-dense', '110', '--rounds', '2', '--out',
                           str(out)]) == 0
    assert 'target: 50 x' in capsys.readouterr().out
    results = json.loads(out.read_text())['sizes']
    assert [result['pixels'] for result in results] == [56, 108, 160]
    ours = {'exact', 'Chebyshev'}
    assert [set(result['figures']) for result in results] == [{'dense', *ours}] * 2 + [ours]
    for result, first in zip(results, ['dense', 'dense', 'exact']):
        figures = result['figures']
        assert figures[first]['ratio'] == 1 and figures[first]['difference'] == 0
        assert all(figure['seconds'] > 0 for figure in figures.values())
        assert 0 < figures['Chebyshev']['difference'] < 1e-3


def test_comparison_can_fail(benchmark):
    affinity, maps = benchmark.make_inputs((8, 9), 2)
    ways = dict(dense=lambda *inputs: benchmark.dense_walk(*inputs, 4), ours=RandomWalk(benchmark.BETA, 16))
    assert benchmark.measure(ways, affinity, maps, 1)['ours']['difference'] < 1e-5
    for wrong in (RandomWalk(benchmark.BETA, 15), RandomWalk(8, 16), lambda affinity, maps: maps * float('nan')):
        with pytest.raises(AssertionError, match='ours gives another result'):
            benchmark.measure(dict(ways, ours=wrong), affinity, maps, 1)


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='the system does not tell')
def test_memory_is_what_is_needed_at_most(benchmark):
    def fill():
        return torch.ones(2 ** 23) + torch.ones(2 ** 23)  # three times 32 MB

    assert benchmark.peak_memory(fill, 'cpu') == pytest.approx(96, abs=8)
    assert benchmark.peak_memory(lambda: torch.ones(()), 'cpu') < 8


# Freed memory that is kept, and cannot be given back since it does not end where the heap ends.
KEPT = '''
import ctypes, runpy, sys, torch
from mmwsss.utils.memory import keep_freed_memory
assert keep_freed_memory()
torch.ones(2 ** 23)
ctypes.CDLL(None).sbrk(4096)
peak_memory = runpy.run_path(sys.argv[1])['peak_memory']
print(peak_memory(lambda: torch.ones(2 ** 23) + torch.ones(2 ** 23), 'cpu'))
'''


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library keeps nothing')
@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='the system does not tell')
def test_memory_that_is_kept_is_not_taken_off():
    done = subprocess.run([warm_python(), '-c', KEPT, str(TOOL)], stdout=subprocess.PIPE, timeout=120, check=True)
    assert float(done.stdout) == pytest.approx(96, abs=8)


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='the system does not tell')
def test_memory_that_others_free_meanwhile_is_not_taken_off(benchmark):
    cycle = [torch.ones(2 ** 23)]
    cycle.append(cycle)
    del cycle

    def fill():
        gc.collect()  # as it comes at any time
        return torch.ones(2 ** 23) + torch.ones(2 ** 23)

    assert benchmark.peak_memory(fill, 'cpu') == pytest.approx(96, abs=8)


@pytest.mark.parametrize('options', [['--sizes', '7'], ['--sizes', '7x8', '0x3'], ['--rounds', '0'], ['--maps', '0'],
                                     ['--squarings', '-1'], ['--tolerance', '1']])
def test_mistakes_end_in_one_line(benchmark, options, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *options])
    with pytest.raises(SystemExit) as caught:
        run_cli(benchmark.main)
    err = capsys.readouterr().err
    assert caught.value.code == 1 and err.count('\n') == 1 and options[0] in err
