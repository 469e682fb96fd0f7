"""The output folder of a training: local, or a prefix of a bucket."""

import json
from pathlib import Path

from pipelines.storage.addresses import is_s3
from pipelines.storage.folder import StoreFolder
from pipelines.storage.store import trouble_named
from pipelines.train.config import TrainConfig, learned_from
from possam_core.errors import ConfigError
from possam_core.training.files import Folder, LocalFolder

SETTINGS = "settings.json"
LOGS = "logs"
MAX_SHOWN = 5  # of settings that differ


class BucketFolder:
    """A prefix of a bucket; store errors become messages, and writes replace objects atomically."""

    def __init__(self, location: str) -> None:
        self._folder = StoreFolder(location)

    def read(self, name: str) -> bytes | None:
        """The bytes of an object; None if there is none."""
        with trouble_named(self._folder.location):
            return self._folder.read(name)

    def write(self, name: str, data: bytes) -> str:
        """Write or replace an object; return its address."""
        with trouble_named(self._folder.location):
            self._folder.replace(name, data)
        return self.full_name(name)

    def full_name(self, name: str) -> str:
        """The address of an object, for messages."""
        return f"{self._folder.location}/{name}"


def open_output(location: str) -> Folder:
    """The folder at `location`, which need not exist."""
    return BucketFolder(location) if is_s3(location) else LocalFolder(Path(location))


def require_same_settings(folder: Folder, config: TrainConfig) -> None:
    """Check that no training with other settings was started in the folder.

    Raises:
        ConfigError: there was one; the message names the differences.
    """
    data = folder.read(SETTINGS)
    if data is None:
        return
    settings, there = learned_from(config), json.loads(data)
    differing = [
        f"{name} is {there.get(name)!r} there and {settings.get(name)!r} here"
        for name in sorted(there.keys() | settings.keys())
        if there.get(name) != settings.get(name)
    ]
    if differing:
        more = f" and {len(differing) - MAX_SHOWN} more" if len(differing) > MAX_SHOWN else ""
        raise ConfigError(
            f"expected the settings that the training in {config.output} was begun with, but"
            f" {', '.join(differing[:MAX_SHOWN])}{more}; use the same, or another output"
        )


def write_settings(folder: Folder, config: TrainConfig) -> None:
    """Write the settings that later calls must not change."""
    folder.write(SETTINGS, json.dumps(learned_from(config), indent=2).encode())
