"""How flows and their tasks fail: with a sentence, and without secrets.

By itself Prefect logs and keeps the whole exception, with everything that its message and its
causes quote. Signals pass through.
"""

import functools
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar, cast

from prefect import get_run_logger
from prefect.states import Failed

from pipelines.redaction import without_secrets
from possam_core.errors import PossamError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def flow_body(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`work` as the body of a flow, which ends Failed with a message instead of an exception."""

    @functools.wraps(work)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            with _readable_errors():
                return work(*args, **kwargs)
        except PossamError as error:
            # A state that a flow returns becomes the state of its run.
            return cast(Result, Failed(message=str(error)))

    return run


def task_body(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`work` as the body of a task, which raises `PossamError` for every error.

    It raises, because a state that a task returns is handed to its flow, which would go on.
    """

    @functools.wraps(work)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with _readable_errors():
            return work(*args, **kwargs)

    return run


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Turn every error into a `PossamError` with a redacted message and without its causes."""
    try:
        yield
    except PossamError as error:
        message = without_secrets(str(error))
    except Exception as error:
        get_run_logger().error(without_secrets(traceback.format_exc()))
        message = without_secrets(f"{type(error).__name__}: {error}")
    else:
        return
    raise PossamError(message) from None  # the log would quote the causes
