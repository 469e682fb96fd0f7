import pytest
from obstore.exceptions import GenericError

from pipelines.storage.store import PATIENCE, patiently
from tests.pipelines.clock import Clock


class Troubled:
    """A call that always fails, and counts how often it was tried."""

    def __init__(self, problem: str) -> None:
        self.num_tries = 0
        self._problem = problem

    def __call__(self) -> None:
        self.num_tries += 1
        raise GenericError(self._problem)


@pytest.mark.parametrize(
    ("problem", "num_tries"),
    [
        ("Generic S3 error: connection reset", PATIENCE.tries),
        ("Unable to copy data to file: No space left on device (os error 28)", 1),
        ("Unable to copy data to file: Disk quota exceeded (os error 122)", 1),
    ],
)
def test_a_call_is_repeated_unless_the_disk_is_full(
    clock: Clock, problem: str, num_tries: int
) -> None:
    call = Troubled(problem)
    with pytest.raises(GenericError):
        patiently(call)
    assert call.num_tries == num_tries == len(clock.waits) + 1
