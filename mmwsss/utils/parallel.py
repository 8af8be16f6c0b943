"""What loops over the files of a data set share: progress bars, and worker processes on the CPU."""
import math
import os
import time
from typing import Any

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


class _ThreadlessProgress(Progress):
    """A progress bar that is drawn by who moves it, at most every ``REFRESH_SECONDS``, and at its end.

    rich's own thread may hold a lock, of the console or of a stream, at the moment when a data worker is forked;
    the worker would then wait for it forever.
    """
    REFRESH_SECONDS = 0.1

    def __init__(self, *columns: ProgressColumn, **kwargs: Any) -> None:
        self._shown = -math.inf
        super().__init__(*columns, auto_refresh=False, **kwargs)

    def refresh(self) -> None:
        """Draws the bar, unless it was drawn a moment ago; ``stop`` always draws it."""
        if time.monotonic() - self._shown >= self.REFRESH_SECONDS:
            super().refresh()
            self._shown = time.monotonic()


def progress_bar(transient: bool = False) -> Progress:
    """Returns a progress bar on stderr with the time left; it shows nothing when stderr is no terminal.

    It has no thread of its own, so data workers may be forked while it is shown. It moves with
    ``Progress.track`` and with ``Progress.update(..., refresh=True)``, which may be called as often as one likes.

    Args:
        transient: Whether the bar goes away at the end.
    """
    console = Console(stderr=True)
    return _ThreadlessProgress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                               TimeRemainingColumn(), console=console, transient=transient,
                               disable=not console.is_terminal)


def default_num_workers() -> int:
    """Returns one worker per CPU that this process may use, or 0 (this process works) when that is one.

    In a container it may use fewer than the machine has.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return cpus if cpus > 1 else 0


def limit_threads(worker: int) -> None:
    """``worker_init_fn`` of a DataLoader with one worker per CPU: each works in one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # OpenCV's thread pool does not survive a fork
