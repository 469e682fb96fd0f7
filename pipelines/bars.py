"""Progress bars on terminals; elsewhere nothing is drawn, not even an empty line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def bars(*columns: ProgressColumn, console: Console | None = None) -> Progress:
    """Bars on `console` (None: stderr), removed at the end; with rich's usual columns or others."""
    console = console or Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def counting(description: str) -> Iterator[Callable[[int, int], None]]:
    """One bar; what is yielded is called with the number of things done so far, and of all."""
    with bars() as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
