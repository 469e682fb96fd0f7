"""What a recount found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was recounted, and what is wrong with it; without problems the run is as promised."""

    location: str
    problems: list[str]  # one sentence each
    is_complete: bool  # every planned image has a row, and the manifest is written
    num_images: int  # planned
    num_files: int  # checked, those of retries too
    num_segments: int  # checked, likewise
    num_rounds: int  # 1, and one more for each retry of failed images
