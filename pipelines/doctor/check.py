"""One thing that was looked at: what was found, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipelines.redaction import without_secrets
from possam_core.errors import PossamError

Verdict = Literal["ok", "warning", "failed"]

MAX_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; whatever it quotes, no secret of this machine is in it."""

    name: str
    verdict: Verdict
    finding: str
    remedy: str | None = None  # kept only if something is not ok

    def __post_init__(self) -> None:
        assert self.verdict == "ok" or self.remedy, f"{self.name} needs a remedy"
        object.__setattr__(self, "finding", without_secrets(self.finding))
        remedy = None if self.verdict == "ok" else without_secrets(self.remedy or "")
        object.__setattr__(self, "remedy", remedy)


def examine(name: str, look: Callable[[], Check], *, remedy: str) -> Check:
    """What `look` finds; an exception of it is a finding, too.

    Args:
        name: of the check that stands for an exception.
        look: looks at one thing.
        remedy: for an exception that does not bring its own.
    """
    try:
        return look()
    except PossamError as error:  # "expected X, got Y; do Z"
        finding, _, advice = one_line(error).rpartition("; ")
        return Check(
            name=name,
            verdict="failed",
            finding=finding or advice,
            remedy=advice if finding else remedy,
        )
    except Exception as error:  # one broken thing must not hide the others
        return Check(name=name, verdict="failed", finding=one_line(error), remedy=remedy)


def one_line(error: BaseException) -> str:
    """The first line of the message, which in most libraries says what happened."""
    text = " ".join(str(error).strip().partition("\n")[0].split()) or "no message"
    text = text if isinstance(error, PossamError) else f"{type(error).__name__}: {text}"
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}..."
