"""What plots have in common: their format, and how they are written."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmwsss.utils.errors import UserError
from mmwsss.utils.fileio import atomic_path, check_output_file

FORMATS = ('.png', '.pdf', '.svg')


def check_plot(path: str | os.PathLike) -> None:
    """Refuses a name that :func:`plot` cannot write, for callers with much to do before they draw.

    Args:
        path: The picture.

    Raises:
        UserError: If it has another suffix than :data:`FORMATS`, or cannot be written where it is to be.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise UserError(f'{path}: a picture can be written as {", ".join(FORMATS)}; change the suffix')
    check_output_file(path)


@contextmanager
def plot(path: str | os.PathLike, width: float, height: float) -> Iterator[Figure]:
    """Gives an empty figure to draw into, and writes it at the end of the block.

    Args:
        path: The picture: ``.png``, ``.pdf`` or ``.svg``. Missing folders are created.
        width: Inches, of 120 pixels each.
        height: Likewise.

    Raises:
        UserError: See :func:`check_plot`; nothing is drawn then.
    """
    path = Path(path)
    check_plot(path)
    # Not pyplot, which keeps every figure and asks the environment for a display.
    figure = Figure(figsize=(width, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    yield figure
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
