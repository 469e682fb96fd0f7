"""One check: its finding, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipelines.redaction import without_secrets
from possam_core.errors import PossamError, first_line

Verdict = Literal["ok", "warning", "failed"]

MAX_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; secrets of this machine are removed from its texts."""

    name: str
    verdict: Verdict
    finding: str
    remedy: str | None = None  # kept only if the status is not ok

    def __post_init__(self) -> None:
        assert self.verdict == "ok" or self.remedy, f"{self.name} needs a remedy"
        object.__setattr__(self, "finding", without_secrets(self.finding))
        remedy = None if self.verdict == "ok" else without_secrets(self.remedy or "")
        object.__setattr__(self, "remedy", remedy)


def examine(name: str, look: Callable[[], Check], *, remedy: str) -> Check:
    """The finding of `look`; an exception that it raises becomes a finding, too.

    Args:
        name: of the finding for an exception.
        look: examines one thing.
        remedy: for an exception whose message has none.
    """
    try:
        return look()
    except PossamError as error:  # "expected X, got Y; do Z"
        finding, _, advice = shown_error(error).rpartition("; ")
        return Check(
            name=name,
            verdict="failed",
            finding=finding or advice,
            remedy=advice if finding else remedy,
        )
    except Exception as error:  # one failing check must not hide the others
        return Check(name=name, verdict="failed", finding=shown_error(error), remedy=remedy)


def shown_error(error: BaseException) -> str:
    """The first line of the message, after the name of the type if it is no error of ours."""
    text = first_line(error)
    text = text if isinstance(error, PossamError) else f"{type(error).__name__}: {text}"
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}..."
