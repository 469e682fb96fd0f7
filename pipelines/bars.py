"""Progress bars on terminals; elsewhere nothing is drawn, not even an empty line."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def bars(*columns: ProgressColumn, console: Console | None = None) -> Progress:
    """Bars on `console` (None: stderr), removed at the end; with rich's usual columns or others."""
    console = console or Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
