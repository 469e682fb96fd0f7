"""Stores of runs and images: a local folder or a prefix of an S3 bucket.

Credentials, region and endpoint of S3 are found where all AWS tools look for them, for obstore
(reads and commits) as for botocore (listings).
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from obstore.store import LocalStore, ObjectStore, S3Store

from pipelines.storage.addresses import is_s3, split_s3
from pipelines.storage.retry import Patience, retry
from possam_core.errors import ConfigError, first_line

if TYPE_CHECKING:
    from obstore.store import S3Credential

Result = TypeVar("Result")

# Seven tries: if 20 % of the replies are lost, one call in 78,000 fails. A failure after 20
# seconds is the last: the client itself has retried for as long.
PATIENCE = Patience(tries=7, first_pause_s=0.1, within_s=20.0)
DISK_FULL = tuple(f"(os error {code})" for code in (errno.ENOSPC, errno.EDQUOT))
RENEW_AFTER = timedelta(minutes=5)  # botocore then renews them if they expire soon

# Errors of a store that cannot be reached, written or read.
STORE_ERRORS = (BaseError, OSError)


def open_store(location: str, *, create: bool = False) -> ObjectStore:
    """An obstore client whose keys are relative to `location`.

    A local folder must exist, unless `create` is set; a bucket must always exist.
    """
    if is_s3(location):
        bucket, prefix = split_s3(location)
        return open_bucket(bucket, prefix)
    return LocalStore(location, mkdir=create, automatic_cleanup=True)


def open_bucket(bucket: str, prefix: str = "", *, is_patient: bool = True) -> ObjectStore:
    """A client for one bucket.

    Args:
        bucket: its name.
        prefix: to which keys are relative.
        is_patient: retry for up to a minute before raising.

    Raises:
        ConfigError: AWS_ENDPOINT_URL is no address.
    """
    _require_sound_endpoint()
    retries, seconds = (6, 60) if is_patient else (2, 10)
    return S3Store(
        bucket,
        prefix=prefix or None,
        credential_provider=_credential_provider(),
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=seconds)},
    )


def _require_sound_endpoint() -> None:
    """Return only if AWS_ENDPOINT_URL is an address: otherwise obstore would end the process."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    try:
        parts = urlsplit(endpoint or "https://unset")
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is not a number
        is_sound = False
    if not is_sound:  # not quoted, because it may contain a login
        raise ConfigError(
            "expected AWS_ENDPOINT_URL as http(s)://host:port, got something else; mend or unset it"
        )


def _credential_provider() -> Callable[[], "S3Credential"] | None:
    """Credentials as the listings find them: profiles and single sign-on, too, and renewed.

    None: obstore's own search in the environment and for the machine's role is enough.
    """
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return None
    import botocore.session  # takes a second, and most workers do not need it

    credentials = botocore.session.get_session().get_credentials()
    if credentials is None:
        return None

    def provide() -> "S3Credential":
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + RENEW_AFTER if frozen.token else None,
        }

    return provide


def put_new(store: ObjectStore, key: str, data: bytes) -> bool:
    """Write `key` unless it exists, atomically; False if it existed.

    One single-part conditional PUT on S3, a hard link locally. After a lost reply the retry finds
    its own object, so False means "it exists", not "another process wrote it".
    """
    try:
        patiently(lambda: obstore.put(store, key, data, mode="create", use_multipart=False))
    except AlreadyExistsError:
        return False
    return True


def patiently(call: Callable[[], Result]) -> Result:
    """The result of `call`, which is repeated when the store fails.

    The client itself retries most requests, but neither conditional writes nor answers that break
    off.

    Raises:
        GenericError: it failed every time or for too long, or the disk is full.
    """
    return retry(call, PATIENCE, is_transient=_may_pass, what="a request to the store")


def _may_pass(error: Exception) -> bool:
    is_full = any(code in str(error) for code in DISK_FULL)  # and will be in seconds, too
    return isinstance(error, GenericError) and not is_full


@contextmanager
def failure_named(expected: str, *, remedy: str) -> Iterator[None]:
    """Turn errors of a store inside into one sentence: `expected`, the reason and the `remedy`.

    Raises:
        ConfigError: the store failed.
    """
    try:
        yield
    except STORE_ERRORS as error:
        raise ConfigError(f"{expected} ({first_line(error)}); {remedy}") from error


def trouble_named(location: str) -> AbstractContextManager[None]:
    """`failure_named` for the store that holds `location`."""
    return failure_named(
        f"expected a store that answers at {location}, but it failed",
        remedy="check the address, AWS_ENDPOINT_URL and the credentials, and run the same command"
        " again",
    )


def writing_named(location: str, *, flag: str = "--output") -> AbstractContextManager[None]:
    """`failure_named` for writing to `location`, which `flag` of the command names."""
    return failure_named(
        f"expected a place to write at {location}, but writing failed",
        remedy=f"choose another {flag} or mend its permissions",
    )
