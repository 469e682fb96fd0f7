"""Advisory notes in the run folder: the processes at work, and when they were last seen."""

import json
import logging
import os
import socket
import time
import uuid
from datetime import UTC, datetime
from importlib.metadata import version

from pipelines.run.folder import RunFolder
from pipelines.storage.store import STORE_ERRORS
from possam_core.errors import first_line

logger = logging.getLogger(__name__)

BEAT_EVERY_S = 30.0
GONE_AFTER_S = 90.0  # three missed beats


class Presence:
    """The note of this process; two runs at once are safe, so others only cause a warning."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._key = f"_runs/{uuid.uuid4().hex}.json"
        self._started = datetime.now(UTC).isoformat()
        self._last_beat = -BEAT_EVERY_S

    def beat(self) -> None:
        """Write the note again if it is `BEAT_EVERY_S` old."""
        if time.monotonic() - self._last_beat >= BEAT_EVERY_S:
            self._last_beat = time.monotonic()
            self._write(is_finished=False)

    def leave(self) -> None:
        """Record that this process has finished."""
        self._write(is_finished=True)

    def neighbours(self) -> list[str]:
        """The other processes seen within `GONE_AFTER_S`, each as `host (process id)`."""
        now = datetime.now(UTC).timestamp()
        notes = [self._run.read_json(key) for key in self._run.keys("_runs") if key != self._key]
        return [
            f"{note['host']} (process {note['pid']})"
            for note in notes
            if note
            and not note["is_finished"]
            and now - datetime.fromisoformat(note["last_seen"]).timestamp() < GONE_AFTER_S
        ]

    def _write(self, *, is_finished: bool) -> None:
        note = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "possam_version": version("possam"),
            "started": self._started,
            "last_seen": datetime.now(UTC).isoformat(),
            "is_finished": is_finished,
        }
        try:
            self._run.replace_once(self._key, json.dumps(note).encode())
        except STORE_ERRORS as error:  # advisory: a run must not fail without it
            logger.warning("could not note in the run who is at work: %s", first_line(error))
