"""How the steps of a flow fail: with a sentence, and without secrets."""

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from prefect import get_run_logger
from prefect.exceptions import FailedRun
from prefect.states import Failed

from pipelines.redaction import without_secrets
from possam_core.errors import PossamError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_words(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`work` as the body of a flow or task, of which no exception leaves as it is.

    Prefect would log and keep it whole, with whatever it quotes. Instead the run ends Failed with a
    message; where a task was called, Prefect raises that as `FailedRun`. Signals pass through.
    """

    @functools.wraps(work)
    def worded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return work(*args, **kwargs)
        except (PossamError, FailedRun) as error:
            message = without_secrets(str(error))
        except Exception as error:
            get_run_logger().error(without_secrets(traceback.format_exc()))
            message = without_secrets(f"{type(error).__name__}: {error}")
        # Prefect takes a returned state for the run's own.
        return cast(Result, Failed(message=message))

    return worded
