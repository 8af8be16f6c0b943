import os

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
