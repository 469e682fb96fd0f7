"""`possam preview`: a page of overlays of a run, worst images first."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import repeat
from pathlib import Path
from typing import Any

from pipelines.committed import CommittedShard, open_committed, read_committed
from pipelines.image_reader import ImageReader
from pipelines.inputs.image import InputImage
from pipelines.plan import load_plan, read_shard
from pipelines.preview_page import GRADES, Failure, RunOverview, make_card, make_page
from pipelines.run_folder import RunFolder
from pipelines.schema import OK
from pipelines.store import STORE_ERRORS, is_s3
from possam_core.errors import ConfigError
from possam_core.image_decode import ImageError, decode_image

Row = dict[str, Any]

MAX_IMAGES = 200  # on the page: about 10 MB
MAX_FAILURES = 200  # listed, of one error code
READ_THREADS = 4
_SURVEY_COLUMNS = ("image_id", "uri", "status", "error_code", "error_message", "quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class _LabelledImage:
    """A row worth showing, and the image that it was made from."""

    row: Row
    image: InputImage


@dataclass(slots=True)
class _Survey:
    """What one pass over the rows has gathered so far; holds the worst rows only."""

    num_per_grade: Counter[str] = field(default_factory=Counter)
    num_per_error: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    worst: list[_LabelledImage] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)


def write_preview(run: str, output: Path | None = None) -> Path:
    """Write the page; without `output` into the run, or into the working folder for a bucket.

    Raises:
        ConfigError: there is no run, or the page cannot be written.
    """
    folder = open_committed(run)
    if output is None:
        home = Path() if is_s3(folder.location) else Path(folder.location) / "report"
        output = home / "preview.html"
    survey = _survey(folder)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        cards = list(pool.map(_card, survey.worst, repeat(ImageReader())))
    overview = RunOverview(
        run=folder.location,
        num_per_grade=survey.num_per_grade,
        num_per_error=survey.num_per_error,
        failures=survey.failures,
        provenance=_provenance(folder, survey.provenance),
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(make_page(overview, cards), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"expected a place to write the page at {output}, but writing failed"
            f" ({error.strerror}); choose another --output"
        ) from error
    return output


def _survey(run: RunFolder) -> _Survey:
    survey = _Survey()
    for committed in read_committed(run):
        survey.provenance = survey.provenance or committed.provenance
        labelled: dict[int, Row] = {}  # by position in the shard
        for position, row in enumerate(committed.rows.select(_SURVEY_COLUMNS).to_pylist()):
            if row["status"] == OK:
                labelled[position] = row
                survey.num_per_grade[row["quality"]["grade"]] += 1
            else:
                _note_failure(survey, row)
        _keep_worst(survey, run, committed, labelled)
    return survey


def _note_failure(survey: _Survey, row: Row) -> None:
    code = row["error_code"]
    survey.num_per_error[code] += 1
    if survey.num_per_error[code] <= MAX_FAILURES:
        survey.failures.append(Failure(uri=row["uri"], code=code, message=row["error_message"]))


def _keep_worst(
    survey: _Survey, run: RunFolder, committed: CommittedShard, labelled: dict[int, Row]
) -> None:
    """Merge a shard's worst images; segments are unpacked for those only."""
    positions = nsmallest(MAX_IMAGES, labelled, key=lambda position: _badness(labelled[position]))
    if len(survey.worst) == MAX_IMAGES:
        bar = _badness(survey.worst[-1].row)
        positions = [p for p in positions if _badness(labelled[p]) < bar]
    if not positions:
        return
    planned = {image.image_id: image for image in read_shard(run, committed.shard)}
    rows = committed.rows.take(positions).to_pylist()
    found = [_LabelledImage(row=row, image=planned[row["image_id"]]) for row in rows]
    survey.worst = nsmallest(MAX_IMAGES, survey.worst + found, key=lambda item: _badness(item.row))


def _badness(row: Row) -> tuple[int, float, str]:
    """Sorts the worst first: by grade, then by score; the id makes the order a function of rows."""
    quality = row["quality"]
    return -GRADES.index(quality["grade"]), quality["mean_score"], row["image_id"]


def _card(labelled: _LabelledImage, reader: ImageReader) -> str:
    try:
        pixels = decode_image(reader.read(labelled.image)).pixels
    except (ImageError, *STORE_ERRORS):  # gone or changed since: the card says so
        pixels = None
    return make_card(labelled.row, pixels)


def _provenance(run: RunFolder, of_file: dict[str, str]) -> dict[str, str]:
    plan = load_plan(run)
    assert plan is not None  # `open_committed` has seen it
    settings = plan.settings
    return {
        "Images": settings.images,
        "Model": f"{settings.model} (sha256 {settings.model_sha256})",
        "Vocabulary": f"{settings.vocabulary} (sha256 {settings.vocabulary_sha256})",
        "Plan": f"{plan.plan_id}: {plan.num_images:,} images in {plan.num_shards:,} shards",
        "Made by": f"possam {of_file.get('possam_version', 'of an unknown version')}",
        "Row schema": of_file.get("schema_version", "unknown"),
    }
