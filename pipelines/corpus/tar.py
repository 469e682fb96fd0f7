"""Lists images in tar files: planning reads each tar once; workers read ranges of it later."""

import logging
import os
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Self, cast
from urllib.parse import quote

import pyarrow as pa

from pipelines.corpus.files import list_files
from pipelines.corpus.found_image import IMAGE_ENDINGS, FoundImage, to_batches
from pipelines.corpus.image import content_etag
from pipelines.storage.object_stream import open_stream
from pipelines.storage.store import STORE_ERRORS
from possam_core.ahead import in_order
from possam_core.errors import ConfigError, one_line

logger = logging.getLogger(__name__)

TAR_ENDINGS = (".tar",)
THREADS = 4
IMAGES_AHEAD = 1024  # of each tar
BUFFER_BYTES = 2**16
MAX_HEADER_BYTES = 2**16  # of the long names and attributes of one member

# Raised by `tarfile` for invalid headers.
HEADER_ERRORS = (tarfile.TarError, ValueError, LookupError, OverflowError)

EXTENDED_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def read_tars(images: str) -> Iterator[pa.RecordBatch]:
    """The image files in each tar of an address, in the order of the tars and of their members.

    Raises:
        ConfigError: the address cannot be listed, or a tar is damaged.
    """
    tars = (_images(tar) for tar in list_files(images, TAR_ENDINGS))
    return to_batches(in_order(tars, threads=THREADS, ahead=IMAGES_AHEAD))


def _images(tar: FoundImage) -> Iterator[FoundImage]:
    try:
        with (
            open_stream(tar.uri) as stream,
            _open(blocks := _Blocks(stream)) as archive,
        ):
            while (member := archive.next()) is not None:
                cast(Any, archive).members.clear()  # it would keep all members in memory
                if member.name.lower().endswith(IMAGE_ENDINGS) and not member.isdir():
                    if member.isreg() and not member.issparse():
                        yield _found(tar, archive, member)
                    else:
                        label = _label(member.name)
                        logger.warning("skipped %s#%s: not a plain file", tar.uri, label)
            blocks.may_end = True
            _require_end(archive)
    except (*HEADER_ERRORS, *STORE_ERRORS) as error:
        reason = one_line(error)
        raise ConfigError(
            f"expected an intact, uncompressed tar at {tar.uri}, but reading it failed ({reason});"
            " write it again or leave it out"
        ) from error


def _open(blocks: "_Blocks") -> tarfile.TarFile:
    stream = cast(BinaryIO, blocks)
    return tarfile.open(fileobj=stream, mode="r|", tarinfo=_SoundMember, bufsize=BUFFER_BYTES)


def _found(tar: FoundImage, archive: tarfile.TarFile, member: tarfile.TarInfo) -> FoundImage:
    content = archive.extractfile(member)
    assert content is not None
    name = _label(member.name)
    return FoundImage(
        uri=f"{tar.uri}#{name}",
        relative_uri=f"{tar.relative_uri}#{name}",
        size=member.size,
        etag=content_etag(cast(BinaryIO, content)),
        modified=tar.modified,
        container=tar.uri,
        offset=member.offset_data,
    )


def _label(name: str) -> str:
    """The name of a member, quoted if it is not UTF-8; it is never used as a path."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote(os.fsencode(name))
    return name


def _require_end(archive: tarfile.TarFile) -> None:
    """Return only if nothing follows the end marker: zeros in the middle of a tar look like one."""
    stream: Any = archive.fileobj
    while rest := stream.read(BUFFER_BYTES):
        if rest.strip(b"\0"):
            raise tarfile.ReadError("data after the end marker")


class _Blocks:
    """Raises if a tar ends too early; without it, `TarFile` may loop forever."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.may_end = False

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        if not data and not self.may_end:
            raise tarfile.ReadError("it ends before its end marker")
        return data


class _SoundMember(tarfile.TarInfo):
    """Raises for headers that `TarFile` would treat as the end of the archive, or keep whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # end marker: raises
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} where a member or the end marker belongs") from error
        if member.type in EXTENDED_HEADERS and member.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member
