"""The page of measured labels: a folder of static files that opens from disk."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pipelines.evaluate.figures import Figures
from pipelines.evaluate.tables import CLAIM_NAMES
from pipelines.report.static_folder import (
    HEAD,
    PAGE_SIZE,
    START,
    StaticFolder,
    page_key,
    script_json,
)
from pipelines.run.grading import shown_grade
from possam_core.evaluation.measurement import ImageResult

VIEWER_FILES = (
    "viewer.css",
    "columns.js",
)  # of the report: its style, and functions that create elements
VIEWER = resources.files("pipelines.report") / "static"
OWN = resources.files(__package__) / "static"
OWN_FILES = ("evaluation.css", "figures.js", "charts.js", "worst.js", "evaluation.js")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContent:
    """What a page shows."""

    title: str
    record: Mapping[str, Any]  # of the figures
    figures: Figures
    worst: Sequence[ImageResult]
    pictures: Iterable[Mapping[str, Any]]  # of the worst images, in their order


class EvaluationPage:
    """The page's folder, opened early so that a mistake in its address shows before measuring."""

    def __init__(self, location: str) -> None:
        """Open or create the folder, local or `s3://`.

        Raises:
            ConfigError: it cannot be written, or holds a run or another page.
        """
        self._folder = StaticFolder(location, flag="--report")

    def write(self, content: PageContent) -> str:
        """Write the page; return the address of the file to open."""
        self._folder.put(HEAD, b"possam.evaluation(%s);\n" % script_json(_head(content)))
        pictures = list(content.pictures)
        pages = range(0, len(pictures), PAGE_SIZE)
        for number, first in enumerate(pages):
            page = script_json(pictures[first : first + PAGE_SIZE])
            self._folder.put(page_key(number), b"possam.pictures(%d,%s);\n" % (first, page))
        self._folder.put_scripts(
            *(VIEWER / name for name in VIEWER_FILES), *(OWN / name for name in OWN_FILES)
        )
        links = "\n".join(
            f'<script defer src="{page_key(number)}?v={self._folder.version}"></script>'
            for number in range(len(pages))
        )
        return self._folder.finish(OWN / START, title=content.title, pages=links)


def _head(content: PageContent) -> dict[str, Any]:
    """The content of the page without the pictures."""
    figures = content.figures
    record = {name: value for name, value in content.record.items() if name != "images"}
    return record | {
        "title": content.title,
        "claims": CLAIM_NAMES,
        "mistakes": figures.mistakes(figures.measurement.segment_pairs),
        "worst": [_worst(image, content.record["uncalibrated"]) for image in content.worst],
    }


def _worst(image: ImageResult, uncalibrated: str | None) -> dict[str, Any]:
    """The head of an image's card; what promises nothing is not shown as if it did."""
    grade, expected = image.grade, image.expected_pq
    if uncalibrated is not None and grade is not None:
        grade, expected = shown_grade(grade, (), uncalibrated), None
    return {"name": image.name, "pq": image.pq, "grade": grade, "expected_pq": expected}
