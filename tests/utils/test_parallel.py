import os
import pty
import re
import signal
import subprocess
import sys
import time

import cv2
import pytest
import torch
from processes import is_alive
from warm_python import warm_python

from mmwsss.utils.errors import UserError
from mmwsss.utils.parallel import (
    OrderedPool,
    check_num_workers,
    default_num_workers,
    limit_threads,
    parallel_map,
    progress_bar,
    workers_per_rank,
)


def test_one_worker_per_usable_cpu(monkeypatch):
    for cpus, workers in ((1, 0), (2, 2), (7, 7)):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda pid, n=cpus: set(range(n)), raising=False)
        assert default_num_workers() == workers


def test_a_worker_has_one_thread():
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(2)
        limit_threads(0)
        assert torch.get_num_threads() == 1 and cv2.getNumThreads() <= 1
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_bar_is_silent_without_a_terminal(capsys):
    with progress_bar() as progress:
        assert list(progress.track([1, 2, 3])) == [1, 2, 3]
    assert capsys.readouterr().err == ''


# A bar on a terminal while data workers are forked and work, as evaluate.py and pseudo_label.py have it.
ON_TERMINAL = """
import sys, threading, time
from torch.utils.data import DataLoader
from mmwsss.utils.parallel import progress_bar

class Slow:
    def __len__(self):
        return 12
    def __getitem__(self, index):
        time.sleep(0.2)
        return index

assert sys.stderr.isatty()
for _ in range(2):
    loader = DataLoader(Slow(), batch_size=None, num_workers=2)
    with progress_bar() as progress:
        # The feeder of the loader of the round before may still be ending.
        threads = [t for t in threading.enumerate() if t.name != 'QueueFeederThread']
        if sys.argv[1] == 'track':
            for item in progress.track(loader, 12, description='working'):
                pass
        else:
            task = progress.add_task('working', total=12)
            for item in loader:
                progress.update(task, completed=item + 1, refresh=True)
    assert threads == [threading.main_thread()], threads
with progress_bar() as progress:
    for _ in progress.track(range(2000), description='fast'):
        pass
"""


def on_terminal(*arguments, timeout=60):
    """Runs Python with stdout and stderr on a terminal of their own; returns what it shows."""
    terminal, end = pty.openpty()
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), TERM='xterm', COLUMNS='100', LINES='30')
    process = subprocess.Popen([warm_python(), '-W', 'ignore', *arguments], stdin=end, stdout=end, stderr=end,
                               env=environment, close_fds=True)
    os.close(end)
    output = b''
    try:
        while data := os.read(terminal, 65536):
            output += data
    except OSError:  # Linux tells the end of a terminal so
        pass
    finally:
        os.close(terminal)
    assert process.wait(timeout) == 0, output.decode()
    return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', output.decode())


def test_bar_moves_on_a_terminal_without_a_thread():
    for how in ('track', 'update'):
        shown = on_terminal('-c', ON_TERMINAL, how)
        done = [int(n) for n in re.findall(r'working .*? (\d+)/12', shown)]
        assert done.count(12) >= 2 and len(set(done)) >= 6  # it ends complete, twice, and does not jump there
        assert re.search(r'\d+/12 0:00:0[1-9]', shown)  # the time left
        fast = re.findall(r'fast .*?(\d+)/2000', shown)
        assert fast[-1] == '2000' and len(fast) < 100  # drawing does not cost more than the work


def test_workers_are_shared_by_the_ranks_of_a_machine(monkeypatch):
    for cpus, ranks, workers in ((1, None, 0), (8, None, 8), (8, '3', 2), (2, '8', 1), (1, '8', 0)):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda pid, n=cpus: set(range(n)), raising=False)
        monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
        if ranks:
            monkeypatch.setenv('LOCAL_WORLD_SIZE', ranks)
        assert workers_per_rank() == workers


def square_later(number):
    """Early items take longer than late ones."""
    time.sleep(0.02 * max(0, 3 - number))
    return number ** 2, os.getpid(), torch.get_num_threads()


def misbehave(what):
    if what == 'raise':
        raise UserError('bad item')
    if what == 'die':
        os.kill(os.getpid(), signal.SIGKILL)
    return what


@pytest.mark.parametrize('num_workers', [0, 1, 3])
def test_pool_gives_results_in_order(num_workers):
    pool = OrderedPool(square_later, num_workers)
    results = []
    for submitted, number in enumerate(range(9), start=1):
        results += pool.submit(number)
        assert submitted - len(results) <= 2 * num_workers
    results += pool.drain()
    assert [result[0] for result in results] == [number ** 2 for number in range(9)]
    assert (os.getpid() in {result[1] for result in results}) == (num_workers == 0)
    assert {result[2] for result in results} == {1}
    assert pool.drain() == [] and len([*pool.submit(1), *pool.drain()]) == 1  # it can be used again


@pytest.mark.parametrize('num_workers', [0, 2])
def test_pool_raises_what_the_function_raises(num_workers):
    pool = OrderedPool(misbehave, num_workers)
    with pytest.raises(UserError, match=r'^bad item$'):
        pool.submit('raise')
        pool.drain()
    assert pool.drain() == []


def test_pool_with_a_killed_worker():
    pool = OrderedPool(misbehave, 2)
    with pytest.raises(UserError, match='worker processes was killed'):
        pool.submit('die')
        pool.drain()
    assert [*pool.submit('next'), *pool.drain()] == ['next']


def test_number_of_workers_is_checked():
    with pytest.raises(ValueError, match='num_workers must be at least 0'):
        OrderedPool(misbehave, -1)


WITH_WORKERS = """
import os, sys, time
from mmwsss.utils.parallel import OrderedPool
pool = OrderedPool(lambda item: os.getpid(), 2)
workers = set()
while len(workers) < 2:
    workers.update([*pool.submit(0)])
print(*workers, flush=True)
time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed():
    process = subprocess.Popen([warm_python(), '-c', WITH_WORKERS], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, 'workers are left'
        time.sleep(0.05)
    assert len(workers) == 2


@pytest.mark.parametrize('num_workers', [0, 2])
def test_map_gives_results_in_order_and_takes_items_as_they_are_needed(num_workers):
    taken = []

    def items():
        for number in range(12):
            taken.append(number)
            yield number

    results = []
    for value, pid, threads in parallel_map(square_later, items(), num_workers):
        results.append(value)
        assert len(taken) <= len(results) + 2 * num_workers + 1
        assert (pid == os.getpid()) == (num_workers == 0) and threads == 1
    assert results == [number ** 2 for number in range(12)]
    assert list(parallel_map(square_later, [], num_workers)) == []


@pytest.mark.parametrize('num_workers', [0, 2])
def test_map_raises_what_the_function_raises(num_workers):
    with pytest.raises(UserError, match=r'^bad item$'):
        list(parallel_map(misbehave, ['good', 'raise', 'good'], num_workers))


def test_number_of_workers_as_a_user_gives_it(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(3)), raising=False)
    assert [check_num_workers(number) for number in (None, 0, 5)] == [3, 0, 5]
    for wrong in (-1, 1.5, '2'):
        with pytest.raises(UserError, match='num_workers must be a whole number, at least 0'):
            check_num_workers(wrong)
