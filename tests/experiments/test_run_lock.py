import multiprocessing
import os
import platform
import signal
import subprocess
import sys

import pytest
import torch
from two_ranks import fork, group

from mmwsss.experiments import run_lock
from mmwsss.experiments.run_lock import LOCK, RunLock
from mmwsss.utils.errors import UserError

pytestmark = pytest.mark.skipif(run_lock.fcntl is None, reason='the system has no such locks')
# Holds the lock of a folder, with a program and a forked process of its own, until it is killed.
HOLDER = '''
import multiprocessing, subprocess, sys, time
from mmwsss.experiments.run_lock import RunLock
with RunLock(sys.argv[1]).held():
    children = [subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid]
    process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    process.start()
    print(process.pid, *children, flush=True)
    time.sleep(60)
'''


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock, and the pids of its children, which outlive it."""
    process = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', HOLDER, str(tmp_path)], stdout=subprocess.PIPE,
                               text=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
    children = [int(word) for word in process.stdout.readline().split()]
    assert len(children) == 2
    yield process
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_killed(holder, tmp_path):
    with pytest.raises(UserError) as caught, RunLock(tmp_path).held():
        pass
    assert str(caught.value) == (f'{tmp_path}: another run (process {holder.pid} on {platform.node()}) is at work '
                                 'there; wait for it, or choose another --work-dir')
    holder.kill()
    holder.wait()
    with RunLock(tmp_path).held():  # while its children still live
        assert (tmp_path / LOCK).read_text().startswith(f'process {os.getpid()} on ')


def test_one_run_after_the_other(tmp_path):
    folder = tmp_path / 'runs/work'
    first, second = RunLock(folder), RunLock(folder)
    with first.held():
        with first.held():
            pass
        with pytest.raises(UserError, match='is at work there'), second.held():  # the inner block has kept it
            pass
    with pytest.raises(KeyError), second.held():
        raise KeyError
    with first.held():
        assert (folder / LOCK).is_file()
    assert (folder / LOCK).is_file()


def test_a_forked_process_takes_nothing_away(tmp_path):
    def leave():
        with lock.held():
            pass
        lock._release()

    lock = RunLock(tmp_path)
    with lock.held():
        process = multiprocessing.get_context('fork').Process(target=leave)
        process.start()
        process.join()
        assert process.exitcode == 0
        with pytest.raises(UserError), RunLock(tmp_path).held():
            pass


@pytest.mark.parametrize('lacking', ['fcntl', 'flock'])
def test_where_there_are_no_locks_runs_go_on(tmp_path, monkeypatch, lacking):
    if lacking == 'fcntl':
        monkeypatch.setattr(run_lock, 'fcntl', None)
    else:
        def flock(*_):
            raise OSError(run_lock.errno.ENOLCK, 'No locks available')
        monkeypatch.setattr(run_lock.fcntl, 'flock', flock)
    with RunLock(tmp_path).held(), RunLock(tmp_path).held():
        pass


def rank_of_a_run(rank, folder):
    with group(rank, folder), RunLock(f'{folder}/work').held():
        torch.distributed.barrier()
        try:
            with RunLock(f'{folder}/work').held():
                raise AssertionError('a second run')
        except UserError as error:
            assert 'at work there' in str(error)


def test_the_ranks_of_one_run_share_it(tmp_path):
    """And all of them are refused where another run is at work."""
    fork(rank_of_a_run, str(tmp_path))
    assert (tmp_path / 'work' / LOCK).is_file()
