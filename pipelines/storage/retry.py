"""Retries after transient failures: the only place that waits between two tries.

The pauses double and vary by half, so that a thousand workers that failed together do not try again
together.
"""

import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TypeVar

from possam_core.errors import one_line

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The number of tries, and the length of the pauses between them."""

    tries: float = math.inf  # in total
    first_pause_s: float  # on average; doubles with every failure
    longest_pause_s: float = math.inf  # on average
    within_s: float = math.inf  # a failure that comes later is the last

    def pause_s(self, num_failures: int) -> float:
        """Seconds to wait after so many failures: between half and one and a half of the mean.

        The mean does not overflow for any number of failures.
        """
        mean = min(self.first_pause_s * 2.0 ** min(num_failures - 1, 64), self.longest_pause_s)
        return mean * random.uniform(0.5, 1.5)


@dataclass(slots=True)
class Retries:
    """Counts the failures of one operation, and waits between its tries."""

    patience: Patience
    num_failures: int = field(default=0, init=False)
    _began: float = field(default_factory=lambda: monotonic(), init=False)

    def again(self) -> bool:
        """After a failure: wait, then return True; False at once if no try is left."""
        self.num_failures += 1
        is_too_late = monotonic() - self._began > self.patience.within_s
        if is_too_late or self.num_failures >= self.patience.tries:
            return False
        sleep(self.patience.pause_s(self.num_failures))
        return True

    def reset(self) -> None:
        """After a success: start counting from zero."""
        self.num_failures, self._began = 0, monotonic()


def retry(
    call: Callable[[], Result],
    patience: Patience,
    *,
    is_transient: Callable[[Exception], bool],
    what: str,
) -> Result:
    """The result of `call`, which is repeated while its errors are transient.

    Args:
        call: safe to repeat.
        patience: the number of tries and the pauses.
        is_transient: whether another try may help after an error.
        what: the operation, for the log; without secrets.

    Raises:
        Exception: the error of the last try.
    """
    retries = Retries(patience)
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
            level = logging.DEBUG if retries.num_failures else logging.INFO  # one line is enough
            logger.log(level, "%s failed (%s), trying on", what, one_line(error))
            if not retries.again():
                raise
