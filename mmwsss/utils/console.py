"""Printing tables."""
from rich.console import Console


def make_console() -> Console:
    """Returns a console that prints text as it is: the name of a class or a file is never markup, nor an emoji."""
    return Console(markup=False, emoji=False)
