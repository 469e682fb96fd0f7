"""Whether the grades of a run promise anything, and how they are shown where they do not.

The rows keep the grade that the model's labels got. It is calibrated only where model, vocabulary
and kind of images are those of the calibration; elsewhere it reads `uncalibrated`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.run.committed import CommittedShard, read_machine_rows
from pipelines.run.folder import RunFolder
from pipelines.run.manifest import current_manifest
from pipelines.run.plan import PlanSettings, load_plan, load_rounds
from pipelines.schema import OK
from possam_core.errors import ConfigError, PossamError
from possam_core.labels.calibration_set import (
    CalibrationSet,
    SeenImages,
    other_images,
    other_vocabulary,
)

CALIBRATED = "calibrated"
UNCALIBRATED = "uncalibrated"  # shown in place of a grade
CORRECTED = "corrected"  # the reason in the rows of annotators, whose grade is theirs
PLAYGROUND_MODEL = "possam-tiny"  # the one that ships
REMEDY = "possam calibrate on a hundred labelled images of your own mends it"


def objection(settings: PlanSettings) -> str | None:
    """Why no grade of a run with these settings is calibrated; None: it depends on its images."""
    return other_vocabulary(
        _calibrated(settings),
        vocabulary=settings.vocabulary,
        vocabulary_sha256=settings.vocabulary_sha256,
    )


def starting_note(settings: PlanSettings) -> str | None:
    """What is known before the first image of a run is labelled; None: nothing against it."""
    notes = []
    if settings.model == PLAYGROUND_MODEL:
        notes.append(
            f"{settings.model} knows nothing but drawn scenes of the playground: on other images"
            " its labels and grades mean nothing; --model fc-clip knows photographs"
        )
    if (reason := objection(settings)) is not None:
        notes.append(not_calibrated_here(reason))
    return "; ".join(notes) or None


def why_uncalibrated(run: RunFolder) -> str | None:
    """Why the grades of a run are not calibrated, judged by what is committed; None: they are.

    Corrections do not count: they say nothing of the model. A finished run is judged by its
    manifest, any other by the rows of all its shards.

    Raises:
        ConfigError: a file was removed or damaged after its commit.
    """
    plan = load_plan(run)
    assert plan is not None  # it was opened as a run
    if (reason := objection(plan.settings)) is not None:
        return reason
    calibrated = _calibrated(plan.settings)
    assert calibrated is not None  # else there was an objection
    return other_images(calibrated, _seen(run))


def not_calibrated_here(reason: str) -> str:
    """The sentence that stands wherever such grades stand."""
    return f"not calibrated here: {reason}; {REMEDY}"


def standing(uncalibrated: str | None) -> str:
    """What is said of the grades of a run: that they are calibrated, or why not."""
    return CALIBRATED if uncalibrated is None else not_calibrated_here(uncalibrated)


def require_calibrated(uncalibrated: str | None) -> None:
    """Return only if `uncalibrated`, of `why_uncalibrated`, is None.

    Raises:
        ConfigError: images are to be chosen by grades that promise nothing.
    """
    if uncalibrated is not None:
        raise ConfigError(
            "expected calibrated grades to choose images by, but these are"
            f" {not_calibrated_here(uncalibrated)}, and --uncalibrated takes them as they are"
        )


def shown_grade(grade: str, reasons: Sequence[str], uncalibrated: str | None) -> str:
    """The grade of an image as it is shown; `uncalibrated` is of `why_uncalibrated`."""
    return grade if uncalibrated is None or CORRECTED in reasons else UNCALIBRATED


def shown_grades(quality: pa.ChunkedArray, uncalibrated: str | None) -> pa.ChunkedArray:
    """The grades of a column `quality` as they are shown; null stays null."""
    grades = pc.struct_field(quality, "grade")
    if uncalibrated is None:
        return grades
    reasons = pc.struct_field(quality, "reasons").to_pylist()
    shown = [
        None if grade is None else shown_grade(grade, of, uncalibrated)
        for grade, of in zip(grades.to_pylist(), reasons, strict=True)
    ]
    return pa.chunked_array([pa.array(shown, pa.string())])


def _calibrated(settings: PlanSettings) -> CalibrationSet | None:
    """As the plan records it; of a plan from before, as the same model still says."""
    if settings.calibrated is not None:
        return settings.calibrated
    try:
        from possam_core.checkpoints.models import read_card  # a bare install has no safetensors

        card = read_card(settings.model)
    except (ImportError, PossamError):
        return None
    return card.calibrated if card.fingerprint == settings.model_sha256 else None


def _seen(run: RunFolder) -> SeenImages:
    manifest = current_manifest(run, load_rounds(run))
    totals = None if manifest is None else manifest.totals
    if totals is None or totals.mean_score is None or totals.mean_coverage is None:
        return _count(read_machine_rows(run))
    return SeenImages(
        num_images=totals.ok,
        means={
            "mean_score": totals.mean_score,
            "coverage": totals.mean_coverage,
            "num_segments": totals.segments / totals.ok,
        },
    )


def _count(shards: Iterable[CommittedShard]) -> SeenImages:
    """The same from rows, for a run without a manifest or with one that lacks the coverage."""
    num_images, sums = 0, defaultdict[str, float](float)
    for shard in shards:
        ok = shard.rows.filter(pc.equal(shard.rows["status"], OK))
        num_images += ok.num_rows
        for quality in ok["quality"].to_pylist():
            sums["mean_score"] += quality["mean_score"]
            sums["coverage"] += quality["coverage"]
            sums["num_segments"] += quality["num_things"] + quality["num_stuff"]
    means = {name: total / num_images for name, total in sums.items()}
    return SeenImages(num_images=num_images, means=means)
