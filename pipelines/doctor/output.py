"""Checks the output of a run, with one small object that is removed again."""

import contextlib
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore

from pipelines.doctor.check import Check, Verdict, shown_error
from pipelines.doctor.machine import existing_part
from pipelines.storage.addresses import is_s3, split_s3
from pipelines.storage.store import STORE_ERRORS, open_bucket, put_new

NUM_TRIES = 5
SLOW_S = 1.0  # a request of a few bytes
WARN_SKEW_S = 60.0
MAX_SKEW_S = 15 * 60.0  # beyond this, S3 takes no signature
SKEWED = "RequestTimeTooSkewed"
CLOCK_REMEDY = "set the clock of this machine: start its time service (chrony, systemd-timesyncd)"

# Sources, by botocore's names, that obstore can use, too; it reads images and commits labels.
USABLE_SOURCES = {
    "env": "the environment (AWS_ACCESS_KEY_ID)",
    "assume-role-with-web-identity": "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}

# By a text that the store's reply or the client's error contains.
REMEDIES = {
    SKEWED: CLOCK_REMEDY,
    "AWS_ENDPOINT_URL": "correct it, or unset it for Amazon's own",
    "builder error": "use an https endpoint, or set AWS_ALLOW_HTTP=true for one without TLS",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID",
    "ExpiredToken": "renew the credentials",
    "AuthorizationHeaderMalformed": "set AWS_REGION to the bucket's region",
    "PermanentRedirect": "set AWS_REGION to the bucket's region",
    "AccessDenied": "allow s3:PutObject, GetObject, DeleteObject and ListBucket on that prefix",
    "NoSuchBucket": "make the bucket, or correct its name",
    "169.254.169.254": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is",
}
OTHER_REMEDY = "check the address, AWS_ENDPOINT_URL, the network and the permissions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Measurements with the probe object."""

    overwrites: bool  # a second conditional write succeeded
    put_s: float  # median
    get_s: float  # median
    skew_s: float  # by which the store's clock is ahead of ours


def check_credentials() -> Check:
    """The source of the credentials for S3; never the credentials."""
    import botocore.session  # of the extra [s3]

    found = botocore.session.get_session().get_credentials()
    if found is None:
        return Check(
            name="credentials",
            verdict="failed",
            finding="none for S3",
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is",
        )
    source = USABLE_SOURCES.get(found.method)
    return Check(
        name="credentials",
        verdict="ok" if source else "failed",
        finding=f"from {source}"
        if source
        else f"only from {found.method}: images can be listed, but neither read nor labelled",
        remedy='put them into the environment: eval "$(aws configure export-credentials --format'
        ' env)"',
    )


def check_output(location: str) -> Iterator[Check]:
    """Whether `location` can be written, honours conditional writes, is fast and has our time.

    For a local folder that does not exist yet, the nearest one above it is checked.
    """
    try:
        with _probe_store(location) as store:
            trial = _try(store)
    except Exception as error:  # of the store, the client or the disk: the finding names it
        yield Check(
            name="output",
            verdict="failed",
            finding=f"{location} cannot be written: {shown_error(error)}",
            remedy=_remedy(error),
        )
        for name in ("output speed", "clock"):
            yield Check(
                name=name,
                verdict="warning",
                finding="not measured, as the output cannot be written",
                remedy="mend the output first",
            )
        return
    yield Check(
        name="output",
        verdict="failed" if trial.overwrites else "ok",
        finding=f"{location} can be written, but overwrites what exists"
        if trial.overwrites
        else f"{location} can be written and honours conditional writes",
        remedy="choose another store; --single-writer is for one run at a time",
    )
    yield Check(
        name="output speed",
        verdict="ok" if max(trial.put_s, trial.get_s) < SLOW_S else "warning",
        finding=f"{1000 * trial.put_s:.1f} ms to write and {1000 * trial.get_s:.1f} ms to read a"
        f" few bytes, median of {NUM_TRIES}",
        remedy="run closer to the store: in its region, without a proxy between",
    )
    yield judge_clock(trial.skew_s)


def judge_clock(skew_s: float) -> Check:
    """The finding for a store's clock that is `skew_s` ahead of ours."""
    size, direction = abs(skew_s), "ahead of" if skew_s > 0 else "behind"
    verdict: Verdict = "failed" if size > MAX_SKEW_S else "warning" if size > WARN_SKEW_S else "ok"
    return Check(
        name="clock",
        verdict=verdict,
        finding="the store has the time of this machine"
        if verdict == "ok"
        else f"the store's is {timedelta(seconds=round(size))} {direction} this machine's",
        remedy=CLOCK_REMEDY,
    )


@contextmanager
def _probe_store(location: str) -> Iterator[ObjectStore]:
    """A client that soon stops retrying, unlike that of a run."""
    if is_s3(location):
        bucket, prefix = split_s3(location)
        yield open_bucket(bucket, prefix, is_patient=False)
    elif Path(location).is_dir():
        yield LocalStore(location, automatic_cleanup=True)
    else:
        above = existing_part(Path(location))
        with tempfile.TemporaryDirectory(
            prefix=".possam-", dir=above, ignore_cleanup_errors=True
        ) as folder:
            yield LocalStore(folder)


def _try(store: ObjectStore) -> Trial:
    key = f"_runs/probe-{uuid.uuid4().hex}"
    put_s, get_s = [], []
    try:
        put_new(store, key, b"{}")
        overwrites = put_new(store, key, b"{}")
        for _ in range(NUM_TRIES):
            started = time.perf_counter()
            obstore.put(store, key, b"{}", use_multipart=False)
            put_s.append(time.perf_counter() - started)
            obstore.get(store, key).bytes()
            get_s.append(time.perf_counter() - started - put_s[-1])
        written = time.time()
        obstore.put(store, key, b"{}", use_multipart=False)
        skew_s = obstore.head(store, key)["last_modified"].timestamp() - written
    finally:
        with contextlib.suppress(*STORE_ERRORS):  # an earlier failure matters more
            obstore.delete(store, key)
    return Trial(
        overwrites=overwrites,
        put_s=statistics.median(put_s),
        get_s=statistics.median(get_s),
        skew_s=skew_s,
    )


def _remedy(error: BaseException) -> str:
    """The remedy for an error of a store, by its whole text."""
    text = str(error)
    return next((do for sign, do in REMEDIES.items() if sign in text), OTHER_REMEDY)
