"""The `possam` command."""

from pipelines.cli.entry import main

__all__ = ["main"]
