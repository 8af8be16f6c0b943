"""Errors that are the user's to mend, and the exit codes of the tools."""
import errno
import sys
from collections.abc import Callable

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_OMISSIONS = 3
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake in the user's files or options.

    The message is one line: it names the file (or option) and says what to do. Tools print it
    without a traceback and exit with :data:`EXIT_FAILED`.
    """


def one_line(error: UserError) -> str:
    """Returns the message of a user error as one line.

    torch raises an error of a data worker again with the worker's traceback as its message.
    """
    message = str(error)
    if 'Original Traceback' in message:
        message = message.rsplit(f'{UserError.__name__}: ', 1)[-1]
    return ' '.join(message.split())


def run_cli(main: Callable[[], int | None]) -> None:
    """Runs a tool's ``main`` and exits the process with its exit code.

    :class:`UserError`, a full disk and Ctrl-C end in one line on stderr; any other exception is
    a defect of ours and keeps its traceback.

    Args:
        main: Returns an exit code; ``None`` counts as :data:`EXIT_DONE`.

    Raises:
        SystemExit: Always, with the exit code.
    """
    try:
        code = main() or EXIT_DONE
    except UserError as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        code = EXIT_FAILED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        print(f'error: cannot write {error.filename or "a file"}: {error.strerror}. Free some space '
              'or choose another folder, then run the same command again: it resumes.',
              file=sys.stderr)
        code = EXIT_FAILED
    except KeyboardInterrupt:
        print('interrupted: run the same command again to resume.', file=sys.stderr)
        code = EXIT_INTERRUPTED
    sys.exit(code)
