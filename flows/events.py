"""Events for automations: a run has started, finished, failed, or misses a threshold."""

from collections.abc import Sequence
from typing import Any

from prefect.events import emit_event

from flows.artifacts import counts
from pipelines.monitor.status import read_status
from pipelines.redaction import without_secrets
from pipelines.run.plan import Plan
from pipelines.stats import Statistics
from possam_core.errors import PossamError

STARTED = "possam.run.started"
FINISHED = "possam.run.finished"
FAILED = "possam.run.failed"
DEGRADED = "possam.quality.degraded"


class RunEvents:
    """Emits the events of one run folder; each holds its address, for the flows that follow.

    The resource is `possam.run.<address of the run folder>`, without secrets.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._shown = without_secrets(output)  # what leaves this process
        self._is_planned = False
        self._has_finished = False

    def started(self, plan: Plan) -> None:
        """The corpus is planned, and labelling begins."""
        self._is_planned = True
        self._emit(STARTED, plan_id=plan.plan_id, images=plan.num_images, shards=plan.num_shards)

    def finished(self, statistics: Statistics) -> None:
        """Every image has labels or a named error."""
        self._has_finished = True
        self._emit(FINISHED, **counts(statistics))

    def failed(self, reason: str) -> None:
        """The run ends early; no event if it has finished already."""
        if self._has_finished:
            return
        images: dict[str, int] = {}
        if self._is_planned:
            try:
                corpus = read_status(self._output).rounds[0]
                images = {"images": corpus.num_images, "labelled": corpus.num_committed_images}
            except PossamError:
                pass  # the store may be what failed
        self._emit(FAILED, reason=without_secrets(reason), **images)

    def degraded(self, stage: str, reasons: Sequence[str], statistics: Statistics) -> None:
        """The labels miss a threshold; `stage` is canary or corpus."""
        self._emit(DEGRADED, stage=stage, reasons=list(reasons), **counts(statistics))

    def _emit(self, event: str, **payload: Any) -> None:
        emit_event(
            event,
            resource={
                "prefect.resource.id": f"possam.run.{self._shown}",
                "prefect.resource.name": self._shown,
            },
            payload={"output": self._shown, **payload},
        )
