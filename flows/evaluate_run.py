"""Compare the labels of a run with ground truth, and its grades with the PQ they predict."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.artifacts import Table
from flows.failures import flow_body, task_body
from flows.forms.checks import mistakes_in, one_message
from flows.forms.form import FORM, out_of_bounds
from flows.forms.form_field import form_field
from flows.logs import package_logs_in_run
from pipelines.evaluate import run as evaluation
from pipelines.evaluate.run import EvaluationReport
from pipelines.evaluate.truth import require_truth
from pipelines.redaction import without_secrets
from pipelines.run.committed import open_committed
from pipelines.run.grading import standing
from possam_core.errors import ConfigError, PossamError
from possam_core.evaluation.percent import percent


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRunForm:
    """Which run, and its ground truth."""

    __pydantic_config__ = FORM

    run: Annotated[
        str,
        form_field(
            "Run",
            "Run folder of images that have ground truth; local or s3://",
            example="s3://street-labels/validation",
        ),
    ]
    ground_truth: Annotated[
        str,
        form_field(
            "Ground truth",
            "COCO panoptic JSON, with its PNGs beside it; where the flow runs, or s3://",
            example="/data/panoptic_val.json",
        ),
    ]
    min_pq: Annotated[
        float,
        form_field(
            "PQ at least",
            "In percent, of all classes; a run below it fails; 0: any",
            ge=0,
            le=100,
            advice="it is a percentage",
            example=40,
        ),
    ] = 0.0


def problems(form: EvaluateRunForm) -> list[str]:
    """Every mistake in the form, a sentence each; empty: the form is valid."""
    return [
        *mistakes_in(partial(open_committed, form.run), partial(require_truth, form.ground_truth)),
        *out_of_bounds(form),
    ]


@flow(name="evaluate-run")
@flow_body
def evaluate_run(form: EvaluateRunForm) -> None:
    """Measure the panoptic quality of a run; corrected labels replace the model's."""
    with package_logs_in_run():
        if found := problems(form):
            raise ConfigError(one_message(found))
        pq = evaluate(form.run, form.ground_truth)
        if pq < form.min_pq:
            raise PossamError(
                f"the run falls short: its PQ is {pq:.1f}, at least {form.min_pq:g} is wanted"
            )


@task(cache_policy=NO_CACHE)
@task_body
def evaluate(run: str, ground_truth: str) -> float:
    """The panoptic quality over all classes, in percent; artifacts show classes and grades."""
    report = evaluation.evaluate_run(run, ground_truth)
    where = without_secrets(run)
    create_table_artifact(quality_table(report), key="panoptic-quality", description=where)
    grades = f"{where}: {standing(report.uncalibrated)}"
    create_table_artifact(grade_table(report), key="grade-calibration", description=grades)
    return 100 * report.quality["all"].pq


def quality_table(report: EvaluationReport) -> Table:
    """One row for each group of classes, in percent."""
    return [
        {
            "classes": name,
            "PQ": percent(quality.pq),
            "SQ": percent(quality.sq),
            "RQ": percent(quality.rq),
            "number": str(quality.num_classes),
        }
        for name, quality in report.quality.items()
    ]


def grade_table(report: EvaluationReport) -> Table:
    """One row for each grade, from A to D, in percent."""
    return [
        {
            "grade": grade.grade,
            "images": f"{grade.num_images:,}",
            "PQ": percent(grade.quality.pq),
            "expected": percent(grade.expected_pq),
        }
        for grade in report.grades
    ]
