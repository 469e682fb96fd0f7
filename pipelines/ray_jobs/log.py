"""Follows the log of a Ray job's program, line by line, in a thread."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable

from ray.job_submission import JobSubmissionClient

from pipelines.storage.retry import Patience, Retries

logger = logging.getLogger(__name__)

PATIENCE = Patience(first_pause_s=2.0, longest_pause_s=2.0)  # for a log that breaks off
LAST_LINES_WITHIN_S = 5.0


class LogFollower:
    """Passes on each line of a job's log once, from the start, even if the connection breaks."""

    def __init__(
        self, client: JobSubmissionClient, job_id: str, on_line: Callable[[str], None]
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._on_line = on_line
        self._num_passed_on = 0
        self._has_ended = False
        context = contextvars.copy_context()  # `on_line` runs in its caller's context
        self._thread = threading.Thread(target=context.run, args=(self._follow,), daemon=True)

    def __enter__(self) -> "LogFollower":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._has_ended = True
        if kind is None:  # an interrupted caller does not wait for the last lines
            self._thread.join(LAST_LINES_WITHIN_S)

    def _follow(self) -> None:
        retries = Retries(PATIENCE)
        while True:
            try:
                asyncio.run(self._pass_on_lines())
                return
            except Exception as error:
                # A broken log must not fail the job.
                if self._has_ended:
                    return
                logger.info("the log of %s broke off (%s), once more", self._job_id, error)
            retries.again()

    async def _pass_on_lines(self) -> None:
        """Call `on_line` with the new lines; Ray always sends the log from its first line."""
        num_lines, rest = 0, ""
        async for text in self._client.tail_job_logs(self._job_id):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                num_lines += 1
                if num_lines > self._num_passed_on:
                    self._num_passed_on = num_lines
                    self._on_line(line)
        if rest:
            self._on_line(rest)
