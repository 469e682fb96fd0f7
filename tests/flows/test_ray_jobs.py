"""The flow in a process of its own, and possam-tiny as a Ray job: kills and cancels."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from uuid import UUID, uuid4

import psutil
import pytest
import requests
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling
from pydantic import TypeAdapter
from ray.job_submission import JobStatus

from flows.forms.corpus import LabelCorpusForm, label_config
from flows.label_corpus import label_corpus
from flows.label_new import label_new
from flows.retry_failed import retry_failed
from pipelines.planning.prepare import prepare
from pipelines.ray_jobs import client as jobs_client
from pipelines.ray_jobs.client import RUN_KEY, JobRequest, RayJobs, job_name, run_on_ray
from pipelines.settings.label import LabelConfig
from pipelines.storage.retry import Patience
from pipelines.verify import verify_run
from possam_core.errors import PossamError
from tests.factories import encode, make_pixels
from tests.flows.api import artifacts_of, latest_logs, logs_of
from tests.flows.services import BIN, free_port, running, wait_until

ROOT = Path(__file__).parents[2]
NUM_IMAGES = 1600  # for the long run, a few minutes
STOPPED_WITHIN_S = 30

RUN_FLOW = """
import sys
from pydantic import TypeAdapter
from flows.forms.corpus import LabelCorpusForm
from flows.label_corpus import label_corpus
label_corpus(TypeAdapter(LabelCorpusForm).validate_json(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(NUM_IMAGES):
        (folder / f"{i:04d}.jpg").write_bytes(encode(make_pixels(seed=i)))
    return folder


def make_form(corpus: Path, run: Path, ray_jobs: str, limit: int) -> LabelCorpusForm:
    return LabelCorpusForm(
        images=str(corpus),
        output=str(run),
        limit=limit,
        shard_size=4,
        canary_images=0,
        num_workers=1,
        ray_address=ray_jobs,
    )


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """A flow run that is at work all the while."""

    folder: Path
    id: UUID
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module", autouse=True)
def long_run(
    ray_jobs: str,
    client: SyncPrefectClient,
    corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LongRun]:
    """Started first, so that its job loads its model while other tests wait for theirs."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "nothing").mkdir()  # to copy into the workspace: the flow is installed
    deployment = client.create_deployment(
        client.create_flow(label_corpus),
        "test",
        entrypoint="flows.label_corpus.label_corpus",
        path=str(folder / "nothing"),
    )
    form = make_form(corpus, folder / "run", ray_jobs, limit=NUM_IMAGES)
    content = TypeAdapter(LabelCorpusForm).dump_python(form, mode="json")
    flow_run = client.create_flow_run_from_deployment(deployment, parameters={"form": content})
    # What a Kubernetes pool runs in its container; a process pool does the same in the worker.
    supervisor = [BIN / "prefect", "flow-run", "execute", str(flow_run.id)]
    with (folder / "log").open("wb") as log, running(supervisor, os.environ, log) as process:
        yield LongRun(folder=folder / "run", id=flow_run.id, process=process)


def has_commits(run: Path) -> bool:
    return any((run / "data").rglob("shard-*.parquet"))


def statuses(ray_jobs: str, run: Path) -> list[JobStatus]:
    """Of all jobs that there have been for the run folder."""
    jobs = RayJobs(ray_jobs)._client.list_jobs()
    return [job.status for job in jobs if (job.metadata or {}).get("possam_run") == str(run)]


def workers_at_work() -> list[psutil.Process]:
    """Processes of the cluster behind `ray_jobs` that hold a model."""
    head = f"/tmp/possam-head-{os.getpid()}"
    return [
        process
        for process in psutil.process_iter()
        if "MapWorker" in command_line(process)
        and any(head in command_line(parent) for parent in process.parents())
    ]


def cpus_in_use(ray_jobs: str) -> float:
    """As Ray's dashboard says."""
    answer = RayJobs(ray_jobs)._client._do_request("GET", "/api/cluster_status")
    report = answer.json()["data"]
    used, _total = report["clusterStatus"]["loadMetricsReport"]["usage"].get("CPU", (0.0, 0.0))
    return float(used)


def submit_sleeper(cluster: RayJobs, job_id: str, run: str) -> None:
    """A job that says one word and does nothing more."""
    cluster._client.submit_job(
        entrypoint="echo good; sleep 600",
        submission_id=job_id,
        entrypoint_num_cpus=0,
        metadata={RUN_KEY: run},
    )


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return ""


class Sleepy(BaseHTTPRequestHandler):
    """A Jobs API whose agents are not up yet when the first job comes; then the one behind it."""

    behind = ""
    num_submissions = 0

    def do_GET(self) -> None:
        self.answer(requests.get(self.behind + self.path, headers=self.token(), timeout=30))

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        Sleepy.num_submissions += 1
        if Sleepy.num_submissions == 1:
            self.send_error(500, "No available agent to submit job, please try again later.")
            return
        headers = self.token() | {"Content-Type": "application/json"}
        self.answer(requests.post(self.behind + self.path, content, headers=headers, timeout=30))

    def token(self) -> dict[str, str]:
        return {k: v for k, v in self.headers.items() if k.lower() == "authorization"}

    def answer(self, response: requests.Response) -> None:
        self.send_response(response.status_code)
        self.end_headers()
        self.wfile.write(response.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sleepy(ray_jobs: str) -> Iterator[str]:
    Sleepy.behind = ray_jobs
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sleepy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_cluster_that_only_just_starts_is_asked_again_and_an_id_is_never_used_twice(
    ray_jobs: str, sleepy: str, tmp_path: Path
) -> None:
    config = LabelConfig(images=str(tmp_path / "none"), output=str(tmp_path / "run"))
    request = JobRequest(config=config)
    assert RayJobs(sleepy).start(request, "possam-none", {}) == "possam-none"
    assert Sleepy.num_submissions >= 2, "once more if its agents really were not up"
    cluster, lines = RayJobs(ray_jobs), []
    assert cluster.start(request, "possam-none", {}) == "possam-none", "while it is at work"
    end = cluster.follow("possam-none", lines.append)
    assert end.status is JobStatus.FAILED
    assert end.reason.endswith("/none does not exist; check the path")
    assert f"possam: {end.reason}" in lines
    assert cluster.start(request, "possam-none", {}) == "possam-none-2"
    cluster.stop(["possam-none-2"])
    assert not [job_id for job_id in cluster.open_jobs() if job_id.startswith("possam-none")]


def test_an_address_where_no_cluster_is_gives_a_sentence(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_client, "PATIENCE", Patience(tries=1, first_pause_s=0.0))
    with pytest.raises(PossamError, match="expected Ray's Jobs API to answer"):
        RayJobs(f"http://127.0.0.1:{free_port()}")


class Interrupted(BaseException):
    """What Prefect raises in a flow on SIGTERM is no Exception, either."""


def test_a_signal_that_ends_the_wait_stops_the_job(ray_jobs: str, tmp_path: Path) -> None:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise Interrupted

    config = LabelConfig(images=str(tmp_path / "none"), output=str(tmp_path / "run"))
    cluster = RayJobs(ray_jobs)
    submit_sleeper(cluster, "possam-sleeper", config.output)
    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            run_on_ray(
                ray_jobs,
                JobRequest(config=config),
                "possam-sleeper",
                on_line=lambda _: os.kill(os.getpid(), signal.SIGUSR1),
            )
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert cluster._client.get_job_status("possam-sleeper") is JobStatus.STOPPED


@pytest.mark.parametrize(
    ("flow", "form", "meant", "another"),
    [
        (label_corpus, {"output": "/labels/run/"}, "/labels/run-canary-64", "/labels/run-2"),
        (label_new, {"output": "/labels/series"}, "/labels/series/000007", "/labels/series-2/1"),
        (retry_failed, {"run": "/labels/run"}, "/labels/run", "/labels/run/in"),
    ],
    ids=["label-corpus", "label-new", "retry-failed"],
)
def test_the_hook_of_a_cancelled_flow_stops_the_jobs_on_its_runs_and_no_others(
    ray_jobs: str, flow: Flow[..., None], form: dict[str, str], meant: str, another: str
) -> None:
    cluster, jobs = RayJobs(ray_jobs), {f"possam-{uuid4().hex}": run for run in (meant, another)}
    for job_id, run in jobs.items():
        submit_sleeper(cluster, job_id, run)
    (hook,) = flow.on_cancellation_hooks
    flow_run = FlowRun(flow_id=uuid4(), parameters={"form": form | {"ray_address": ray_jobs}})
    hook(flow, flow_run, Cancelling())
    assert [jobs[job_id] for job_id in cluster.open_jobs() if job_id in jobs] == [another]
    cluster.stop(jobs)


def test_a_job_that_is_stopped_in_rays_dashboard_fails_the_flow_with_a_sentence(
    ray_jobs: str, client: SyncPrefectClient, corpus: Path, tiny_model: str, tmp_path: Path
) -> None:
    form = replace(make_form(corpus, tmp_path / "run", ray_jobs, limit=4), checkpoint=tiny_model)
    job_id = job_name(prepare(label_config(form)).plan, form.output)
    cluster = RayJobs(ray_jobs)
    submit_sleeper(cluster, job_id, form.output)

    def stop_it() -> None:
        wait_until(lambda: f"attached to Ray job {job_id}" in latest_logs(client))
        cluster._client.stop_job(job_id)

    somebody = threading.Thread(target=stop_it)
    somebody.start()
    state = label_corpus(form, return_state=True)
    somebody.join()
    assert state.is_failed()
    assert f"Ray job {job_id} was stopped from outside" in str(state.message)


def test_the_job_of_a_killed_flow_goes_on_and_the_next_run_attaches_to_it(
    ray_jobs: str, client: SyncPrefectClient, corpus: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    form = make_form(corpus, run, ray_jobs, limit=48)
    content = TypeAdapter(LabelCorpusForm).dump_json(form).decode()
    first = subprocess.Popen([sys.executable, "-c", RUN_FLOW, content], cwd=ROOT)
    wait_until(lambda: has_commits(run), 120)
    first.kill()
    first.wait()
    assert statuses(ray_jobs, run) == [JobStatus.RUNNING]

    state = label_corpus(form, return_state=True)
    assert state.is_completed()
    assert statuses(ray_jobs, run) == [JobStatus.SUCCEEDED]
    assert verify_run(str(run)).problems == []
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    wait_until(lambda: "labelled 48 images" in logs_of(client, flow_run_id))
    assert "attached to Ray job possam-" in logs_of(client, flow_run_id)
    assert artifacts_of(client, flow_run_id)["corpus-progress"] == 100


def test_a_run_that_is_cancelled_through_the_api_stops_its_job_and_frees_the_cpus(
    ray_jobs: str, client: SyncPrefectClient, long_run: LongRun
) -> None:
    wait_until(lambda: has_commits(long_run.folder), 120)
    assert workers_at_work()
    wait_until(lambda: cpus_in_use(ray_jobs) == 1)
    client.set_flow_run_state(long_run.id, Cancelling())
    wait_until(lambda: statuses(ray_jobs, long_run.folder) == [JobStatus.STOPPED], STOPPED_WITHIN_S)
    wait_until(lambda: not workers_at_work(), STOPPED_WITHIN_S)
    wait_until(lambda: cpus_in_use(ray_jobs) == 0, STOPPED_WITHIN_S)
    long_run.process.wait(timeout=60)
    final = client.read_flow_run(long_run.id).state
    assert final is not None
    assert final.is_cancelled()
    assert verify_run(str(long_run.folder)).is_complete is False
