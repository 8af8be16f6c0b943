import os
import pty
import re
import subprocess
import sys

import cv2
import torch

from mmwsss.utils.parallel import default_num_workers, limit_threads, progress_bar


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
    process = subprocess.Popen([sys.executable, '-W', 'ignore', *arguments], stdin=end, stdout=end, stderr=end,
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
