"""What loops over the files of a data set share: progress bars, and worker processes on the CPU."""
import os

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar(transient: bool = False) -> Progress:
    """Returns a progress bar on stderr with the time left; it shows nothing when stderr is no terminal.

    Args:
        transient: Whether the bar goes away at the end.
    """
    console = Console(stderr=True)
    return Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    console=console, transient=transient, disable=not console.is_terminal)


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
