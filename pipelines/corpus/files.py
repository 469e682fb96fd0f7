"""Lists a folder, glob or prefix of image files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from pipelines.corpus.found_image import IMAGE_ENDINGS, FoundImage, in_groups, to_batches
from pipelines.corpus.image import content_etag
from pipelines.corpus.local_files import list_local
from pipelines.storage.addresses import is_s3, local_path
from possam_core.ahead import in_order

HASH_THREADS = 8
HASH_FILES = 64  # for one thread at a time


def read_images(images: str) -> Iterator[pa.RecordBatch]:
    """The images below an address, sorted by uri; local ones are read once, for their hash.

    Raises:
        ConfigError: the address does not exist or cannot be read.
    """
    return to_batches(_identified(images))


def list_files(images: str, endings: tuple[str, ...]) -> Iterator[FoundImage]:
    """The files of these endings below an address, sorted by uri.

    Raises:
        ConfigError: the address does not exist or cannot be read.
    """
    if not is_s3(images):
        return list_local(images, endings)
    from pipelines.corpus.s3_files import list_s3  # needs the extra [s3]

    return list_s3(images, endings)


def _identified(images: str) -> Iterator[FoundImage]:
    found = list_files(images, IMAGE_ENDINGS)
    if is_s3(images):
        yield from found
        return
    groups = (map(_identify, group) for group in in_groups(found, HASH_FILES))
    yield from in_order(groups, threads=HASH_THREADS, ahead=HASH_FILES)


def _identify(image: FoundImage) -> FoundImage:
    path = local_path(image.uri)
    assert path is not None
    try:
        with Path(path).open("rb") as stream:
            etag = content_etag(stream)
            return replace(image, etag=etag, size=stream.tell())
    except OSError:
        return image  # removed, or not readable; its row will have the error
