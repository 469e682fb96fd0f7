"""Label a corpus on demand: the form is `LabelConfig`, the work is the command's own job."""

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from pipelines.label_config import LabelConfig
from pipelines.manifest import Totals
from pipelines.runner import run_label
from possam_core.errors import PossamError


@task
def label_images(request: LabelConfig) -> Totals:
    """Label what is pending, in process on a private Ray; the totals of the whole run.

    Raises:
        PossamError: the request cannot work, or shards are still open.
    """
    report = run_label(request)
    if report.manifest is None:
        raise PossamError(
            f"expected every shard of {report.location} to be committed, but"
            f" {len(report.open_shards)} are open; run the flow again, it does only those"
        )
    return report.manifest.totals


@flow(name="label-corpus")
def label_corpus(request: LabelConfig) -> None:
    """Label the images of `request`; a table of totals appears with the run."""
    totals = label_images(request)
    rows = [{"": "images", "count": totals.images}, {"": "ok", "count": totals.ok}]
    rows += [{"": code, "count": count} for code, count in totals.errors.items()]
    rows += [{"": f"grade {grade}", "count": count} for grade, count in totals.grades.items()]
    create_table_artifact(key="label-corpus-totals", table=rows, description=request.output)
