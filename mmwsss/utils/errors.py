"""Errors that a user can correct, and the exit codes of the tools."""
EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_SKIPPED = 3
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake in the user's files or options.

    The message is one line: it names the file (or option) and says what to do. Tools print it
    without a traceback and exit with :data:`EXIT_FAILED`.
    """


def check_missing(name: str, value: str) -> None:
    """Refuses an option that says what a missing file is, if it is neither ``'error'`` nor ``'skip'``.

    Raises:
        UserError: With the option's name.
    """
    if value not in ('error', 'skip'):
        raise UserError(f"{name} must be 'error' or 'skip', got {value!r}")


def one_line(error: UserError) -> str:
    """Returns the message of a user error as one line.

    torch raises an error of a data worker again with the worker's traceback as its message.
    """
    message = str(error)
    if 'Original Traceback' in message:
        message = message.rsplit(f'{UserError.__name__}: ', 1)[-1]
    return ' '.join(message.split())
