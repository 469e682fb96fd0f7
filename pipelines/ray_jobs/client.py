"""A labelling job on a Ray cluster: submitted over its Jobs API, followed, stopped.

The job's id is made from its run and round, so a second request for the same work attaches to the
running job. A cluster never frees an id: after a job that has ended, the next is `<id>-2`, and so
on.
"""

import hashlib
import logging
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from pydantic import TypeAdapter
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient
from requests import RequestException

from pipelines.ray_jobs.log import LogFollower
from pipelines.run.plan import Plan
from pipelines.settings.label import LabelConfig
from pipelines.storage.retry import Patience, retry
from possam_core.errors import ConfigError, PossamError, first_line

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

ID_PREFIX = "possam-"
PROGRAM = "python -m pipelines.ray_jobs.main"
RUN_KEY = "possam_run"  # in a job's metadata: the run folder to which it writes
OUR_OWN_LINE = "possam: "  # prefix of the sentence with which a job's program ends

UNREACHABLE_FOR_S = 600.0  # after which `follow` raises
POLL_S = 1.0
# For a cluster that has just started, and answers 500 at first.
PATIENCE = Patience(first_pause_s=POLL_S, longest_pause_s=POLL_S, within_s=60.0)
STOP_GRACE_S = 23  # the shards in flight have 20; then Ray kills the job's program
STOP_PATIENCE_S = STOP_GRACE_S + 5.0
TROUBLE = (RuntimeError, OSError, RequestException)  # of the Jobs API
REFUSED = re.compile(
    r"status code 4(?!08|25|29)\d\d"
)  # an error of the request, unlike a full queue


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """The argument of the job's program; without secrets, because Ray's dashboard shows it."""

    config: LabelConfig
    codes: tuple[str, ...] | None = None  # retry the images that failed with these; None: label


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How a job ended."""

    job_id: str
    status: JobStatus
    reason: str  # why it failed; empty if it did not


def job_name(plan: Plan, location: str) -> str:
    """The name of a job on one round of the run at `location`, without a number."""
    place = hashlib.sha256(location.encode()).hexdigest()[:8]
    return f"{ID_PREFIX}{plan.plan_id}-{place}-r{plan.round}"


def run_on_ray(
    address: str,
    request: JobRequest,
    name: str,
    *,
    on_line: Callable[[str], None],
    metadata: Mapping[str, str] | None = None,
) -> JobEnd:
    """Start the job called `name`, or attach to it, and return when it has ended.

    If this process crashes, the job goes on. Any exception, such as one raised by a signal, stops
    the job before it is raised further: a job must not run unobserved.

    Args:
        address: of the cluster's Jobs API, http(s)://host:port.
        request: argument of the job's program.
        name: returned by `job_name`.
        on_line: called with every line that the job's program writes, from another thread within
            the context of the caller.
        metadata: stored with a new job.

    Raises:
        PossamError: the cluster does not answer, or refuses the job.
    """
    cluster = RayJobs(address)
    job_id = cluster.start(request, name, metadata or {})
    try:
        return cluster.follow(job_id, on_line)
    except BaseException:
        cluster.stop([job_id])
        raise


class RayJobs:
    """The part of a cluster's Jobs API that we need."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            PossamError: Ray does not answer, or its environment variables name another cluster.
        """
        self.address = address.rstrip("/")
        self._client = self._patiently(lambda: JobSubmissionClient(self.address))
        if self._client.get_address() != self.address:
            raise ConfigError(
                f"expected to reach Ray at {self.address}, but RAY_ADDRESS or"
                " RAY_API_SERVER_ADDRESS leads elsewhere; unset it where the flow runs"
            )

    def start(self, request: JobRequest, name: str, metadata: Mapping[str, str]) -> str:
        """The id of the open job called `name`: found, or submitted now.

        Raises:
            PossamError: the cluster refuses it.
        """
        for number in count(1):
            job_id = name if number == 1 else f"{name}-{number}"
            job = self._find(job_id)
            if job is None and self._submit(job_id, request, metadata):
                logger.info("submitted Ray job %s", job_id)
                return job_id
            job = job or self._find(job_id)  # another process may have submitted it first
            if job is not None and not job.status.is_terminal():
                logger.info("attached to Ray job %s, which is %s", job_id, job.status.value.lower())
                return job_id
        raise AssertionError("there is always a next number")

    def follow(self, job_id: str, on_line: Callable[[str], None]) -> JobEnd:
        """Return when the job has ended and its last line has been passed on.

        Raises:
            PossamError: the cluster has not answered for ten minutes.
        """
        with LogFollower(self._client, job_id, on_line):
            job = self._wait(job_id)
        reason = _reason(job.message or "") if job.status is JobStatus.FAILED else ""
        return JobEnd(job_id=job_id, status=job.status, reason=reason)

    def stop(self, job_ids: Iterable[str]) -> None:
        """Stop jobs and return when they have stopped, or half a minute later.

        They finish the shards that take 20 seconds at most. Errors are logged, not raised,
        because the caller has an error of its own to raise.
        """
        open_ids = set(job_ids)
        for job_id in open_ids:
            logger.info("stopping Ray job %s", job_id)
        deadline = time.monotonic() + STOP_PATIENCE_S
        is_asked: set[str] = set()
        while open_ids and time.monotonic() < deadline:
            for job_id in sorted(open_ids):
                try:
                    if job_id not in is_asked:
                        self._client.stop_job(job_id)
                        is_asked.add(job_id)
                    if self._client.get_job_info(job_id).status.is_terminal():
                        logger.info("Ray job %s has stopped", job_id)
                        open_ids.discard(job_id)
                except TROUBLE as error:
                    logger.warning("Ray does not answer about %s: %s", job_id, first_line(error))
            time.sleep(POLL_S / 2)
        for job_id in sorted(open_ids):
            logger.error("Ray job %s may still run; stop it in Ray's dashboard", job_id)

    def open_jobs(self) -> dict[str, JobDetails]:
        """Our jobs that have not ended, by id.

        Raises:
            PossamError: Ray does not answer.
        """
        jobs = {job.submission_id or "": job for job in self._patiently(self._client.list_jobs)}
        return {
            job_id: job
            for job_id, job in jobs.items()
            if job_id.startswith(ID_PREFIX) and not job.status.is_terminal()
        }

    def stop_runs(self, is_meant: Callable[[str], bool]) -> None:
        """Stop every job that writes to a run folder whose address is selected.

        Raises:
            PossamError: Ray does not answer.
        """
        jobs = self.open_jobs().items()
        self.stop([i for i, job in jobs if is_meant((job.metadata or {}).get(RUN_KEY, ""))])

    def _find(self, job_id: str) -> JobDetails | None:
        def find() -> JobDetails | None:
            try:
                return self._client.get_job_info(job_id)
            except RuntimeError as error:
                if "status code 404" in str(error):
                    return None
                raise

        return self._patiently(find)

    def _submit(self, job_id: str, request: JobRequest, metadata: Mapping[str, str]) -> bool:
        """Whether the job was taken; False if the id is in use."""
        content = TypeAdapter(JobRequest).dump_json(request).decode()

        def submit() -> bool:
            try:
                self._client.submit_job(
                    entrypoint=f"{PROGRAM} {shlex.quote(content)}",
                    submission_id=job_id,
                    runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S)}},
                    metadata={**metadata, RUN_KEY: request.config.output},
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    return False
                raise
            return True

        return self._patiently(submit)

    def _wait(self, job_id: str) -> JobDetails:
        """The job's details, once it has ended."""
        answered = time.monotonic()
        while True:
            try:
                job = self._client.get_job_info(job_id)
                answered = time.monotonic()
                if job.status.is_terminal():
                    return job
            except TROUBLE as error:
                logger.debug("Ray does not answer", exc_info=True)
                if time.monotonic() - answered > UNREACHABLE_FOR_S:
                    raise self._silent(error) from error
            time.sleep(POLL_S)

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """The result of `call`, repeated while a cluster that is just starting refuses it.

        Raises:
            PossamError: it was refused for too long.
        """
        try:
            return retry(
                call, PATIENCE, is_transient=_may_pass, what=f"asking Ray at {self.address}"
            )
        except (AuthenticationError, *TROUBLE) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> PossamError:
        return PossamError(
            f"expected Ray's Jobs API to answer at {self.address}, but it does not"
            f" ({first_line(error)}); check the address and the cluster and, if it asks for a"
            " token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN where the flow runs"
        )


def _may_pass(error: Exception) -> bool:
    return isinstance(error, TROUBLE) and not REFUSED.search(str(error))


def _reason(message: str) -> str:
    """The sentence with which the job's program ended, or else the last line of Ray's message."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    ours = [line.removeprefix(OUR_OWN_LINE) for line in lines if line.startswith(OUR_OWN_LINE)]
    return (ours or lines or ["Ray does not say why"])[-1]
