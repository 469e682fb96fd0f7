"""Where runs and images live: a local folder or a prefix of an S3 bucket.

Credentials, region and endpoint of S3 come from the usual AWS_* environment, which both obstore
(reads and commits) and s3fs (listings) understand.
"""

from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from possam_core.errors import ConfigError

S3_SCHEME = "s3://"

# What a store raises when it cannot be reached, written or read.
STORE_ERRORS = (BaseError, OSError)


def is_s3(location: str) -> bool:
    """Whether `location` names a bucket rather than a local path."""
    return location.startswith(S3_SCHEME)


def normalise_location(location: str) -> str:
    """The same place in the one form that plans store: an absolute path or `s3://bucket/prefix`.

    Raises:
        ConfigError: the address is empty, names no bucket, or is of another scheme.
    """
    if is_s3(location):
        bucket, prefix = split_s3(location)
        return f"{S3_SCHEME}{bucket}/{prefix}".rstrip("/")
    if "://" in location or not location.strip():
        raise ConfigError(
            f"expected a local path or an s3:// address, got {location!r}; copy the data to one"
        )
    return str(Path(location).absolute())


def split_s3(location: str) -> tuple[str, str]:
    """Bucket and key of an `s3://bucket/key` address.

    Raises:
        ConfigError: it names no bucket.
    """
    bucket, _, key = location.removeprefix(S3_SCHEME).partition("/")
    if not bucket:
        raise ConfigError(f"expected s3://bucket/prefix, got {location!r}; name the bucket")
    return bucket, key


def open_store(location: str, *, create: bool = False) -> ObjectStore:
    """An obstore client whose keys are relative to `location`.

    A local folder must exist, unless `create` is set; a bucket must exist always.
    """
    if is_s3(location):
        bucket, prefix = split_s3(location)
        return open_bucket(bucket, prefix)
    return LocalStore(location, mkdir=create, automatic_cleanup=True)


def open_bucket(bucket: str, prefix: str = "") -> ObjectStore:
    """A client for one bucket that waits out short trouble and then raises."""
    return S3Store(
        bucket,
        prefix=prefix or None,
        retry_config={"max_retries": 6, "retry_timeout": timedelta(seconds=60)},
    )


def put_new(store: ObjectStore, key: str, data: bytes) -> bool:
    """Write `key` unless it exists, atomically; False if it existed.

    One single-part conditional PUT on S3, a hard link locally. After a lost reply the retry finds
    its own object, so False means "it is there", not "someone else wrote it".
    """
    try:
        obstore.put(store, key, data, mode="create", use_multipart=False)
    except AlreadyExistsError:
        return False
    return True
