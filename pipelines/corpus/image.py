"""One image of the corpus: where it is, and what identifies its content."""

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImage:
    """A planned image, identified by where it is and what it holds."""

    image_id: str  # from uri and content; the same wherever the corpus is copied to
    uri: str  # absolute path, s3:// or http(s)://; file://... for names that are not UTF-8
    size: int | None  # in bytes; None: unknown
    etag: str | None  # S3's, or `content_etag` of a local or packed image; None: unknown
    container: str | None = None  # the tar or Parquet file that holds it
    offset: int | None = None  # there: its first byte, or its row in a Parquet file


def make_image_id(relative_uri: str, etag: str | None) -> str:
    """The identity of an image: the same for the same content at the same place of a corpus."""
    identity = f"{relative_uri}\n{etag or ''}".encode()
    return hashlib.blake2b(identity, digest_size=16).hexdigest()


def content_etag(stream: BinaryIO) -> str:
    """Identity of the bytes that are left in `stream`."""
    digest = hashlib.blake2b(digest_size=16)
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
    return f"blake2b-{digest.hexdigest()}"
