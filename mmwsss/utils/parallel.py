"""What loops over the files of a data set share: progress bars, and worker processes on the CPU."""
import contextlib
import math
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2
import torch
from mmengine.dist import get_world_size
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from mmwsss.utils.console import current_step
from mmwsss.utils.errors import UserError


class _ThreadlessProgress(Progress):
    """A progress bar that is drawn by who moves it, at most every ``REFRESH_SECONDS``, and at its end.

    rich's own thread may hold a lock, of the console or of a stream, at the moment when a data worker is forked;
    the worker would then wait for it forever.
    """
    REFRESH_SECONDS = 0.1

    def __init__(self, *columns: ProgressColumn, **kwargs: Any) -> None:
        self._shown = -math.inf
        super().__init__(*columns, auto_refresh=False, **kwargs)

    def add_task(self, description: str, *args: Any, **kwargs: Any) -> TaskID:
        """Adds a task, under the title of the step that it belongs to."""
        step = current_step()
        return super().add_task(description if step is None else step.title, *args, **kwargs)

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
        transient: Whether the bar goes away at the end; within a :class:`~mmwsss.utils.console.StepLine` it does.
    """
    console = Console(stderr=True)
    return _ThreadlessProgress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                               TimeRemainingColumn(), console=console,
                               transient=transient or current_step() is not None,
                               disable=not console.is_terminal)


def default_num_workers() -> int:
    """Returns one worker per CPU that this process may use, or 0 (this process works) when that is one.

    In a container it may use fewer than the machine has.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return cpus if cpus > 1 else 0


def check_num_workers(num_workers: int | None) -> int:
    """Returns a number of worker processes as a user gives it; ``None``: :func:`default_num_workers`.

    Raises:
        UserError: If it is no whole number of 0 or more.
    """
    if num_workers is None:
        return default_num_workers()
    if not isinstance(num_workers, int) or num_workers < 0:
        raise UserError(f'num_workers must be a whole number, at least 0, got {num_workers!r}')
    return num_workers


def limit_threads(worker: int) -> None:
    """``worker_init_fn`` of a DataLoader with one worker per CPU: each works in one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # OpenCV's thread pool does not survive a fork


def workers_per_rank() -> int:
    """Returns :func:`default_num_workers` shared by the processes of a distributed run on this machine, at least 1.

    Without CPUs to share, 0: this process works.
    """
    # torchrun tells how many are on this machine; who does not know takes them all to be here.
    ranks = int(os.environ.get('LOCAL_WORLD_SIZE') or get_world_size())
    workers = default_num_workers()
    return max(1, workers // ranks) if workers else 0


class OrderedPool:
    """Calls a function in worker processes while this one goes on; results come in the order of the items.

    No more than two items a worker are under way: :meth:`submit` then waits for the oldest, so that items do not pile
    up in memory. Workers start with the first item, work in one thread each, leave Ctrl-C to this process, and end when
    it is killed.

    Args:
        function: Called with one item; where processes are not forked it must be picklable, as items and results
            always.
        num_workers: Worker processes; 0: this process works.

    Raises:
        ValueError: If ``num_workers`` is negative.
    """

    def __init__(self, function: Callable[[Any], Any], num_workers: int) -> None:
        if num_workers < 0:
            raise ValueError(f'OrderedPool: num_workers must be at least 0, got {num_workers}')
        self.function = function
        self.num_workers = num_workers
        self._executor: ProcessPoolExecutor | None = None
        self._pending: deque[Future] = deque()

    def submit(self, item: Any) -> list[Any]:
        """Hands in an item.

        Returns:
            Results that are due, those of the oldest items.

        Raises:
            Exception: What the function raised; what is still waiting is not done then.
            UserError: If a worker was killed.
        """
        if not self.num_workers:
            return [self.function(item)]
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self.num_workers, initializer=_start_worker, initargs=(self.function,))
        with self._closed_by_errors():
            self._pending.append(self._executor.submit(_work, item))
        return self._take(leave=2 * self.num_workers)

    def drain(self) -> list[Any]:
        """Waits for all items, returns the results that are left, and ends the workers.

        Raises:
            Exception: See :meth:`submit`.
        """
        results = self._take(leave=0)
        self.close()
        return results

    def close(self) -> None:
        """Ends the workers; what is waiting is not done."""
        if self._executor is not None:
            self._executor.shutdown(wait=not self._pending, cancel_futures=True)
        self._executor = None
        self._pending.clear()

    def _take(self, leave: int) -> list[Any]:
        results = []
        with self._closed_by_errors():
            while len(self._pending) > leave:
                results.append(self._pending[0].result())
                self._pending.popleft()
        return results

    @contextlib.contextmanager
    def _closed_by_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            self.close()
            raise UserError(f'one of {self.num_workers} worker processes was killed; if memory ran out, set fewer '
                            '(num_workers)') from error
        except BaseException:
            self.close()
            raise


def parallel_map(function: Callable[[Any], Any], items: Iterable[Any], num_workers: int) -> Iterator[Any]:
    """Calls a function with every item in worker processes, and yields the results in the order of the items.

    Args:
        function: See :class:`OrderedPool`.
        items: The items. They are taken as workers become free.
        num_workers: Worker processes; 0: this process works.

    Raises:
        Exception: What the function raised, and see :class:`OrderedPool`. The workers have ended then, as they have
            when the caller takes no more results.
    """
    with contextlib.closing(OrderedPool(function, num_workers)) as pool:
        for item in items:
            yield from pool.submit(item)
        yield from pool.drain()


# What the process works on, in a worker of OrderedPool.
_function: Callable[[Any], Any] | None = None


def _start_worker(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads(0)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(item: Any) -> Any:
    return _function(item)
