"""The `possam` command."""

from pipelines.cli.command import main

__all__ = ["main"]
