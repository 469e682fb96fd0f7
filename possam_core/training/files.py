"""Where a training keeps its files: a folder of this machine, or what a job puts in its place."""

import os
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Folder(Protocol):
    """Named files, each whole or absent."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""

    def write(self, name: str, data: bytes) -> str:
        """Replace a file at once, whatever happens meanwhile; returns its full name."""


class LocalFolder:
    """A folder of this machine, made when it is first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        file = self.path / name
        return file.read_bytes() if file.exists() else None

    def write(self, name: str, data: bytes) -> str:
        """Replace a file at once; it outlasts a crash of the machine, too."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.partial")
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
        return str(file)
