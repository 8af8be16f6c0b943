"""What a terminal gets to see: tables, and one line for each step of a long run."""
import shutil
import sys
from types import TracebackType

from rich.console import Console
from rich.file_proxy import FileProxy

# A table that goes into a file or a pipe has no edge to be cut at.
WIDE = 1000
CLEAR_LINE = '\r\x1b[2K'

_step: 'StepLine | None' = None


def make_console() -> Console:
    """Returns a console that prints text as it is: the name of a class or a file is never markup, nor an emoji.

    Where stdout is no terminal, tables are as wide as their content.
    """
    return Console(markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDE)


class StepLine:
    """The line of a step on stderr: its title when it begins, its result behind that when it ends.

    Progress bars of the step show its title and go away with it, so that one line is left.

    Args:
        title: Of the step.
        quiet: Print nothing, as on the other processes of a distributed run.

    Examples:
        >>> with StepLine('[1/3] classifier: train') as line:  # doctest: +SKIP
        ...     line.result = '12.3 s'
    """

    def __init__(self, title: str, quiet: bool = False) -> None:
        self.title, self.quiet, self.result = title, quiet, ''
        self._is_terminal, self._interrupted = sys.stderr.isatty(), False

    def __enter__(self) -> 'StepLine':
        global _step
        if not self.quiet:
            _step = self
            if self._is_terminal:
                # The cursor goes back to the start: a bar or the result is written over the title.
                self._write(f'{CLEAR_LINE}{self.title[:shutil.get_terminal_size().columns - 1]}\r')
            else:
                self._write(self.title)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        global _step
        if self.quiet:
            return
        _step = None
        result = 'failed' if kind else self.result
        ending = f', {result}' if result else ''
        if self._is_terminal:
            self._write(f'{CLEAR_LINE}{self.title}{ending}\n')
        else:
            self._write(f'{self.title if self._interrupted else ""}{ending}\n')

    def interrupt(self) -> None:
        """Makes room for a message, which would otherwise stand behind the title."""
        if self._is_terminal:
            if not isinstance(sys.stderr, FileProxy):  # a bar, which sees to it
                self._write(CLEAR_LINE)
        elif not self._interrupted:
            self._write(' ...\n')
        self._interrupted = True

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def current_step() -> StepLine | None:
    """Returns the step that waits for its result, if there is one."""
    return _step
