"""A series in a bucket, labelled and retried as jobs on a Ray cluster, by its credentials."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import State
from ray.job_submission import JobStatus

from flows.label_new import LabelNewForm, label_new
from flows.retry_failed import RetryFailedForm, retry_failed
from pipelines.ray_jobs.client import RUN_KEY, RayJobs
from pipelines.run.committed import open_committed, read_committed
from pipelines.verify import verify_run
from tests.factories import encode, make_pixels
from tests.flows.api import artifacts_of, events_of, logs_of
from tests.flows.services import wait_until

BUCKET = "nightly"
SECRET = "planted-5tAr5"
OLD, NEW = ("0.jpg", "1.jpg", "empty.jpg"), ("2.jpg", "3.jpg")


@dataclass(frozen=True, kw_only=True)
class Nights:
    """A night on the cluster, a retry there, and a night in this process."""

    form: LabelNewForm
    first: State[None]
    retried: State[None]
    second: State[None]

    def run(self, number: int) -> str:
        return f"{self.form.output}/{number:06d}"


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def nights(client: SyncPrefectClient, ray_jobs: str, tiny_model: str) -> Nights:
    form = LabelNewForm(
        images=f"s3://{BUCKET}/corpus",
        output=f"s3://{BUCKET}/labels",
        checkpoint=tiny_model,
        num_workers=1,
        shard_size=2,
        max_error_share=0.5,
        ray_address=ray_jobs,
    )
    retry = RetryFailedForm(
        run=f"{form.output}/000001", codes="empty", num_workers=1, ray_address=ray_jobs
    )
    fsspec.filesystem("s3").makedirs(BUCKET, exist_ok=True)
    upload(OLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)  # the server takes any
        first = label_new(form, return_state=True)
        retried = retry_failed(retry, return_state=True)
        upload(NEW)
        second = label_new(replace(form, ray_address=""), return_state=True)
    return Nights(form=form, first=first, retried=retried, second=second)


def upload(names: tuple[str, ...]) -> None:
    for name in names:
        seed = (OLD + NEW).index(name)
        content = b"" if name == "empty.jpg" else encode(make_pixels(seed=seed))
        fsspec.filesystem("s3").pipe_file(f"{BUCKET}/corpus/{name}", content)


def names(run: str) -> list[str]:
    shards = read_committed(open_committed(run))
    return [Path(uri).name for shard in shards for uri in shard.rows["uri"].to_pylist()]


def run_id(state: State[None]) -> UUID:
    found = state.state_details.flow_run_id
    assert found is not None
    return found


def test_each_image_of_a_bucket_is_labelled_once_on_the_cluster_or_here(nights: Nights) -> None:
    assert nights.first.is_completed(), nights.first.message
    assert nights.second.is_completed(), nights.second.message
    assert names(nights.run(1)) == list(OLD)
    assert names(nights.run(2)) == list(NEW)
    for number in (1, 2):
        assert verify_run(nights.run(number)).problems == []
    assert not fsspec.filesystem("s3").exists(f"{BUCKET}/labels/_drafts")


def test_both_rounds_of_a_run_are_jobs_of_their_own(
    nights: Nights, ray_jobs: str, client: SyncPrefectClient
) -> None:
    assert nights.retried.is_completed(), nights.retried.message
    jobs = [j for j in RayJobs(ray_jobs)._client.list_jobs() if in_run(j.metadata, nights.run(1))]
    assert {(j.submission_id or "")[-3:]: j.status for j in jobs} == {
        "-r0": JobStatus.SUCCEEDED,
        "-r1": JobStatus.SUCCEEDED,
    }
    shown = artifacts_of(client, run_id(nights.retried))
    assert shown["retry-progress"] == 100
    statistics = {row["figure"]: row["value"] for row in shown["retry-statistics"]}
    assert statistics["error empty"] == "1", "it is empty still"
    wait_until(lambda: "labelled 1 image in" in logs_of(client, run_id(nights.retried)))


def test_no_credential_is_in_what_ray_and_prefect_keep(
    nights: Nights, ray_jobs: str, client: SyncPrefectClient, prefect_server: str
) -> None:
    jobs = RayJobs(ray_jobs)._client
    kept: list[Any] = [events_of(prefect_server, nights.run(number)) for number in (1, 2)]
    for state in (nights.first, nights.retried, nights.second):
        flow_run = client.read_flow_run(run_id(state))
        kept += [
            flow_run.model_dump(mode="json"),
            artifacts_of(client, flow_run.id),
            logs_of(client, flow_run.id),
        ]
    for job in jobs.list_jobs():
        if in_run(job.metadata, nights.run(1)):
            kept += [job.model_dump(mode="json"), jobs.get_job_logs(job.submission_id or "")]
    assert SECRET not in json.dumps(kept, default=str)


def in_run(metadata: dict[str, str] | None, run: str) -> bool:
    return (metadata or {}).get(RUN_KEY) == run
