"""Shows the log records of our packages in the flow run, without any setting of Prefect's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.logging.handlers import APILogHandler

from pipelines.redaction import without_secrets

PACKAGES = ("possam_core", "pipelines")


class _RunLogHandler(logging.Handler):
    """Passes records on to the logger of a run, from any thread."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._logger = get_run_logger()

    def emit(self, record: logging.LogRecord) -> None:
        self._logger.log(record.levelno, "%s", without_secrets(self.format(record)))


@contextmanager
def package_logs_in_run() -> Iterator[None]:
    """Show INFO and above of `possam_core` and `pipelines` in the current run, while inside.

    Nothing changes where PREFECT_LOGGING_EXTRA_LOGGERS shows them already.
    """
    loggers = [logging.getLogger(name) for name in PACKAGES]
    loggers = [log for log in loggers if not any(_is_shown(h) for h in log.handlers)]
    before = [(log.level, log.propagate) for log in loggers]
    handler = _RunLogHandler()
    for log in loggers:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False  # the run's own logger prints them, too
    try:
        yield
    finally:
        for log, (level, propagate) in zip(loggers, before, strict=True):
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate


def _is_shown(handler: logging.Handler) -> bool:
    return isinstance(handler, APILogHandler | _RunLogHandler)
