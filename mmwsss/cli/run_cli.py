"""Running a command: its errors in one line, its exit code."""
import errno
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from mmwsss.utils.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, UserError, one_line

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
WRONG_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)

# Functions that make a folder or write a file.
WRITERS = ('mkdir', 'makedirs', 'write_bytes', 'write_text')


def config_mistake(error: Exception) -> str | None:
    """Says which part of a config could not be built, when that is what an error means.

    MMEngine builds a config's parts by calling their classes with its settings: an unknown type or setting, or a value
    that a class refuses, comes up as KeyError, TypeError, ValueError or AssertionError of a constructor.

    Args:
        error: Any exception.

    Returns:
        One line that names the part and where it was refused; ``None`` for an exception that no setting explains.
    """
    stack = list(traceback.walk_tb(error.__traceback__))
    frames = [frame for frame, _ in stack]
    building = [frame for frame in frames if _is_of_mmengine(frame)
                and (frame.f_code.co_name.lstrip('_').startswith('build') or frame.f_code.co_name == 'from_cfg')]
    if not building or isinstance(error, OSError):
        return None
    # What is deeper down than a constructor is more likely to be a defect than a wrong setting.
    refused = frames[-1].f_code.co_name == '__init__' or _is_of_mmengine(frames[-1])
    if not refused and not isinstance(error, (ValueError, AssertionError)):
        return None
    parts = [frame.f_locals.get('cfg') for frame in building]
    names = [part['type'] for part in parts if isinstance(part, dict) and isinstance(part.get('type'), str)]
    message = str(error.args[0] if isinstance(error, KeyError) and error.args else error) or 'failed'
    place = f'{os.path.basename(frames[-1].f_code.co_filename)}:{stack[-1][1]}'
    return (f'cannot build {names[-1] if names else "the run"} from the config: {" ".join(message.split())} '
            f'({type(error).__name__} in {place}); correct the config or --cfg-options')


def _is_of_mmengine(frame: FrameType) -> bool:
    return frame.f_globals.get('__name__', '').split('.')[0] == 'mmengine'


def _with_context(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def run_cli(main: Callable[[], int | None]) -> None:
    """Runs a tool's ``main`` and exits the process with its exit code.

    :class:`UserError`, a full disk, a place that cannot be written, a config that cannot be built and Ctrl-C end in
    one line on stderr; any other exception is a defect of ours and keeps its traceback. When who reads the output has
    gone (``mmwsss configs | head -1``), the process ends without a word.

    Args:
        main: Returns an exit code; ``None`` counts as :data:`EXIT_DONE`.

    Raises:
        SystemExit: Always, with the exit code.
    """
    try:
        code = main() or EXIT_DONE
        if 'mmwsss.utils.dist' in sys.modules:  # otherwise nothing was started, and nothing imports torch for --help
            from mmwsss.utils.dist import end_dist
            code = end_dist(code)
        sys.stdout.flush()  # here rather than at the end of Python, which would print a traceback
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            # Python flushes both streams at its end, and would print another error.
            with open(os.devnull, 'w') as nothing:
                for stream in (sys.stdout, sys.stderr):
                    os.dup2(nothing.fileno(), stream.fileno())
            sys.exit(EXIT_FAILED)
        # Some libraries turn any exception into one of their own, a KeyboardInterrupt too.
        if any(isinstance(cause, KeyboardInterrupt) for cause in _with_context(error)):
            line = 'interrupted: run the same command again to resume (mmwsss train: with --resume).'
            code = EXIT_INTERRUPTED
        elif message := _explain(error):
            line, code = f'error: {message}', EXIT_FAILED
        else:
            raise
        sys.stdout.flush()  # the error is the last line, and red where that is seen
        is_red = sys.stderr.isatty() and 'NO_COLOR' not in os.environ
        print(f'\x1b[31m{line}\x1b[0m' if is_red else line, file=sys.stderr)
    sys.exit(code)


def _reader_has_gone() -> bool:
    """Returns whether the output is a pipe that nobody reads any more; other pipes are those to processes of ours."""
    try:
        streams = [stream.fileno() for stream in (sys.stdout, sys.stderr)]
        poll = select.poll()
    except (OSError, ValueError, AttributeError):  # no file, as in a test; not POSIX
        return False
    for stream in streams:
        poll.register(stream, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _cannot_be_made(error: OSError) -> bool:
    """Returns whether a file or folder is missing since its folder, which is there, takes none: below ``/proc``."""
    if error.errno != errno.ENOENT or not error.filename or not Path(error.filename).absolute().parent.is_dir():
        return False
    return any(frame.f_code.co_name in WRITERS for frame, _ in traceback.walk_tb(error.__traceback__))


def _explain(error: Exception) -> str | None:
    if isinstance(error, UserError):
        return one_line(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return (f'cannot write {error.filename or "a file"}: {error.strerror}. Free some space or choose another '
                'folder, then run the same command again (mmwsss train: with --resume).')
    if isinstance(error, OSError) and (error.errno in WRONG_PLACE or _cannot_be_made(error)):
        return (f'cannot use {error.filename or "a file"}: {error.strerror}. Choose another place or mend its '
                'permissions, then run the same command again (mmwsss train: with --resume).')
    return config_mistake(error)
