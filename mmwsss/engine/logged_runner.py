"""What of MMEngine's log goes to the terminal; the log file always has all of it."""
import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmwsss.utils.console import current_step

# What a terminal shows: all of the log; the lines of LoggerHook, warnings and errors; warnings and errors.
ALL, PROGRESS, WARNINGS = 'all', 'progress', 'warnings'
LEVELS = (ALL, PROGRESS, WARNINGS)

_level = ALL
_shared_file: logging.FileHandler | None = None


@contextlib.contextmanager
def console_shows(level: str, log_file: str | Path | None = None) -> Iterator[None]:
    """Chooses what runs show on the terminal while the block lasts; the log files of the runs have everything.

    Args:
        level: :data:`ALL` (configs, environment, hooks, every line), :data:`PROGRESS` (a line an interval of the
            training or test, warnings and errors) or :data:`WARNINGS` (these only).
        log_file: One file that also gets the log of every run in the block, behind what it holds.

    Raises:
        ValueError: For another level.
    """
    global _level, _shared_file
    if level not in LEVELS:
        raise ValueError(f'level must be one of {LEVELS}, got {level!r}')
    before = _level, _shared_file
    _level = level
    if log_file is not None and is_main_process():
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        _shared_file = logging.FileHandler(log_file, 'a', encoding='utf-8')
        _shared_file.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s', '%Y/%m/%d %H:%M:%S'))
    logger = MMLogger.get_current_instance()
    _prepare(logger)
    try:
        yield
    finally:
        if _shared_file is not before[1]:
            for logger in MMLogger._instance_dict.values():
                logger.removeHandler(_shared_file)
            _shared_file.close()
        _level, _shared_file = before


class LoggedRunner(Runner):
    """MMEngine's Runner, of whose log the terminal shows what :func:`console_shows` says."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Builds the logger as MMEngine does, and says where its file is where that is not shown on the terminal."""
        logger = super().build_logger(*args, **kwargs)
        _prepare(logger)
        if _level == PROGRESS and is_main_process():
            print(f'log: {logger.log_file}', file=sys.stderr)
        return logger


def _prepare(logger: MMLogger) -> None:
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler and _is_shown not in handler.filters:
            handler.addFilter(_is_shown)
    if _shared_file is not None and _shared_file not in logger.handlers:
        logger.addHandler(_shared_file)


def _is_shown(record: logging.LogRecord) -> bool:
    shown = (record.levelno >= logging.WARNING or _level == ALL
             or (_level == PROGRESS and record.module == 'logger_hook'))
    if shown and (step := current_step()):
        step.interrupt()
    return shown
