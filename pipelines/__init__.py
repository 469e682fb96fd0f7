"""Jobs on Ray Data, the `possam` command, and `open_run`, which reads what a run has labelled."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.reader import open_run

__all__ = ["open_run"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Every import of ours comes by here, and most have no use for what reading needs.
        if name == "open_run":
            from pipelines.reader import open_run

            return open_run
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
