"""The result of a recount."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was recounted, and its problems; without problems the run keeps its contract."""

    location: str
    problems: list[str]  # one sentence each
    is_complete: bool  # every planned image has a row, and the manifest is written
    num_images: int  # planned
    num_files: int  # checked, with retries
    num_segments: int  # checked, with retries
    num_rounds: int  # 1, and one more for each retry of failed images
