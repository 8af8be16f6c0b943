"""A progress bar with the time left."""
import atexit
import logging
import sys
import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmwsss.registry import HOOKS
from mmwsss.utils.console import current_step


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows a progress bar with the time left for training and test loops.

    Only on the main process and when stderr is a terminal; MMEngine's LoggerHook prints the time left into
    logs. Log lines appear above the bar.
    """

    priority = 'LOWEST'
    REFRESH_SECONDS = 0.1

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._shown = 0.0
        self._streams: list[tuple[logging.StreamHandler, object]] = []

    def _start(self, runner: Runner, what: str, completed: int, total: int) -> None:
        if not is_main_process() or not sys.stderr.isatty() or not total:
            return
        self._stop()
        console, step = Console(stderr=True), current_step()
        self._progress = Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                                  TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(), console=console,
                                  # A data worker forked while rich's thread holds a lock would wait for it forever.
                                  auto_refresh=False, transient=step is not None)
        self._task = self._progress.add_task(what if step is None else step.title, total=total, completed=completed)
        # The logger's handler has kept the terminal that rich is about to replace.
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler and handler.stream.isatty():
                self._streams.append((handler, handler.stream))
                handler.setStream(FileProxy(console, handler.stream))
        self._progress.start()
        # No hook is called after an exception, and the terminal's cursor would stay hidden.
        atexit.register(self._stop)

    def _update(self, completed: int) -> None:
        if self._progress is None:
            return
        due = time.monotonic() - self._shown >= self.REFRESH_SECONDS
        self._progress.update(self._task, completed=completed, refresh=due)
        if due:
            self._shown = time.monotonic()

    def _stop(self) -> None:
        if self._progress is None:
            return
        self._progress.stop()
        self._progress = None
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams.clear()
        atexit.unregister(self._stop)

    def before_train(self, runner: Runner) -> None:
        """Shows the bar, from the iteration where a resumed training stands."""
        self._start(runner, 'train', runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Moves the bar."""
        self._update(runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        """Ends the bar."""
        self._stop()

    def before_test(self, runner: Runner) -> None:
        """Shows the bar, in batches of this process."""
        self._start(runner, 'test', 0, len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: list | None = None) -> None:
        """Moves the bar."""
        self._update(batch_idx + 1)

    def after_test(self, runner: Runner) -> None:
        """Ends the bar."""
        self._stop()
