"""How flows and their steps fail: with a sentence, and without secrets.

Prefect would log and keep an exception whole, with whatever it quotes. Signals pass through.
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


def in_words(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`work` as the body of a flow, which ends Failed with a message instead of an exception."""

    @functools.wraps(work)
    def worded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            with _worded():
                return work(*args, **kwargs)
        except PossamError as error:
            # Prefect takes a returned state for the run's own.
            return cast(Result, Failed(message=str(error)))

    return worded


def step(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`work` as the body of a task, which raises `PossamError` whatever goes wrong.

    It does raise: a state that a task returns is handed to its flow, which would go on.
    """

    @functools.wraps(work)
    def worded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with _worded():
            return work(*args, **kwargs)

    return worded


@contextmanager
def _worded() -> Iterator[None]:
    """Let nothing out but a `PossamError` with a sentence, and nothing that led to it."""
    try:
        yield
    except PossamError as error:
        message = without_secrets(str(error))
    except Exception as error:
        get_run_logger().error(without_secrets(traceback.format_exc()))
        message = without_secrets(f"{type(error).__name__}: {error}")
    else:
        return
    raise PossamError(message) from None  # or its log would quote what led to it
