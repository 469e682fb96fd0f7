"""One image of the corpus: its address, and what identifies its content."""

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImage:
    """A planned image, identified by its address and its content."""

    image_id: str  # from relative uri and content; the same in every copy of the corpus
    uri: str  # absolute path, s3:// or http(s)://; file://... for names that are not UTF-8
    size: int | None  # in bytes; None: unknown
    etag: str | None  # S3's, or `content_etag` of a local or packed image; None: unknown
    container: str | None = None  # the tar or Parquet file that holds it
    offset: int | None = None  # in the container: its first byte, or its row in a Parquet file


def make_image_id(relative_uri: str, etag: str | None) -> str:
    """The id of an image: the same for the same content at the same relative uri of a corpus."""
    identity = f"{relative_uri}\n{etag or ''}".encode()
    return hashlib.blake2b(identity, digest_size=16).hexdigest()


def content_etag(stream: BinaryIO) -> str:
    """A hash of the remaining bytes of `stream`."""
    digest = hashlib.blake2b(digest_size=16)
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
    return f"blake2b-{digest.hexdigest()}"
