"""Lists the images of a corpus, for every kind of source."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipelines.corpus.container import open_parquet
from pipelines.corpus.embedded import PARQUET_ENDINGS, read_embedded
from pipelines.corpus.files import list_files, read_images
from pipelines.corpus.found_image import IMAGE_ENDINGS
from pipelines.corpus.glob_pattern import split_glob
from pipelines.corpus.listed_images import MANIFEST_ENDINGS, is_manifest, read_manifests
from pipelines.corpus.local_files import corpus_root
from pipelines.corpus.tar import TAR_ENDINGS, read_tars
from pipelines.storage.addresses import is_s3
from possam_core.errors import ConfigError

COMPRESSED_TARS = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
LISTS = (".txt", ".tsv", ".json", ".gz", ".xlsx")  # other kinds that people keep lists in
UNREAD_ENDINGS = (
    *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k"),
    *(".svg", ".psd", ".dng", ".cr2", ".nef", ".arw", ".ppm", ".pgm", ".exr", ".ico"),
)
PACKED_ENDINGS = TAR_ENDINGS + PARQUET_ENDINGS + MANIFEST_ENDINGS


def read_source(images: str, *, allowed_hosts: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """The images of a corpus as batches of INPUT_SCHEMA, in a stable order.

    The suffix of the address or glob separates tar files, manifests and Parquet files from folders.

    Args:
        images: a normalised address.
        allowed_hosts: web hosts that a manifest may name (see `pipelines.storage.hosts`).

    Raises:
        ConfigError: there is no image at the address, or it cannot be read.
    """
    batches = _read(images, allowed_hosts)
    first = next(batches, None)
    if first is None:
        raise _nothing_found(images)
    yield first
    yield from batches


def require_corpus(images: str) -> None:
    """Return only if the folder of a local corpus exists: otherwise every image would be missing.

    Raises:
        ConfigError: it does not.
    """
    if not is_s3(images):
        corpus_root(images)


def _read(images: str, allowed_hosts: Sequence[str]) -> Iterator[pa.RecordBatch]:
    name = images.lower()
    if name.endswith(COMPRESSED_TARS):
        raise ConfigError(
            f"expected uncompressed tar files, which can be read by ranges, got {images};"
            " decompress them"
        )
    if name.endswith(TAR_ENDINGS):
        return read_tars(images)
    if name.endswith(PARQUET_ENDINGS):
        if _holds_manifests(images):
            return read_manifests(images, PARQUET_ENDINGS, allowed_hosts)
        return read_embedded(images)
    if name.endswith(MANIFEST_ENDINGS):
        return read_manifests(images, MANIFEST_ENDINGS, allowed_hosts)
    return read_images(images)


def _holds_manifests(images: str) -> bool:
    """Whether the first Parquet file of an address lists images rather than holding them."""
    first = next(list_files(images, PARQUET_ENDINGS), None)
    if first is None:
        return False
    with open_parquet(first.uri) as parquet:
        return is_manifest(parquet.schema_arrow)


def _nothing_found(images: str) -> ConfigError:
    """The error for an address without images; it names the other files there."""
    endings = next((e for e in PACKED_ENDINGS if images.lower().endswith(e)), None)
    if endings is not None:
        return ConfigError(
            f"expected images in {endings} files at {images}, found none; check the address"
        )
    expected = f"expected images ({' '.join(IMAGE_ENDINGS)}) in {images}, found none"
    if images.lower().endswith(LISTS):
        return ConfigError(
            f"expected a list of images in {images} as {' '.join(MANIFEST_ENDINGS)} or"
            f" {' '.join(PARQUET_ENDINGS)}, got another kind of file; write it as one of them, with"
            " a column uri"
        )
    packed = next(list_files(images, PACKED_ENDINGS), None)
    if packed is None:
        if (unread := next(list_files(images, UNREAD_ENDINGS), None)) is not None:
            return ConfigError(
                f"{expected} but {unread.uri}, whose kind is not read; convert such images to PNG"
                " or JPEG"
            )
        return ConfigError(f"{expected}; check the address")
    ending = packed.uri[packed.uri.rindex(".") :]
    literal, is_glob = split_glob(images)
    if is_s3(images):
        root = literal.rpartition("/")[0] if is_glob else images
    else:
        root = corpus_root(images)
    depth = "" if packed.uri.rpartition("/")[0] == root else "**/"
    return ConfigError(
        f"{expected} but {packed.uri}; to read what such files hold, write {root}/{depth}*{ending}"
    )
