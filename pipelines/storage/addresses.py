"""Addresses of runs and images: local paths, `s3://bucket/key`, web addresses."""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

from possam_core.errors import ConfigError

S3_SCHEME = "s3://"
FILE_SCHEME = "file://"  # used only for local names that are not UTF-8


class BadKeyError(OSError):
    """The store's client cannot address the object."""


def is_s3(location: str) -> bool:
    """Whether `location` names a bucket rather than a local path."""
    return location.startswith(S3_SCHEME)


def is_http(location: str) -> bool:
    """Whether `location` is a web address."""
    return location.startswith(("http://", "https://"))


def is_remote(location: str) -> bool:
    """Whether `location` is not a local path."""
    return is_s3(location) or is_http(location)


def normalise_location(location: str) -> str:
    """The same address in the form that plans store: an absolute path or `s3://bucket/prefix`.

    Raises:
        ConfigError: the address is empty, has no bucket, or has another scheme.
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


def split_object(uri: str) -> tuple[str, str]:
    """Bucket and key of one object.

    Raises:
        BadKeyError: the key begins or ends with a slash, which the client would strip: it would
            read another object.
    """
    bucket, key = split_s3(uri)
    if key != key.strip("/"):
        raise BadKeyError(
            f"expected a key without a slash at its beginning or end, got {key!r}; copy the object"
            " to another key"
        )
    return bucket, key


def local_path(uri: str) -> str | None:
    """The path of a local uri, for `open`; None for a remote one."""
    if uri.startswith(FILE_SCHEME):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix(FILE_SCHEME)))
    return None if is_remote(uri) else uri
