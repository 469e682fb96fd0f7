"""Where a training keeps its files: a local folder, or another `Folder` that a job provides."""

import os
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Folder(Protocol):
    """Named files, each whole or absent."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""

    def write(self, name: str, data: bytes) -> str:
        """Replace a file atomically; returns its full name."""

    def full_name(self, name: str) -> str:
        """The path or address of a file, for messages."""


class LocalFolder:
    """A local folder, created on the first write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        file = self.path / name
        return file.read_bytes() if file.exists() else None

    def write(self, name: str, data: bytes) -> str:
        """Replace a file atomically; it also survives a crash of the machine."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.partial")
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
        return self.full_name(name)

    def full_name(self, name: str) -> str:
        """The path of a file, for messages."""
        return str(self.path / name)
