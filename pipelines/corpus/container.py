"""Opens Parquet files, local or in a bucket; used by planning and by workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.storage.addresses import local_path
from pipelines.storage.object_stream import ObjectFile
from pipelines.storage.store import STORE_ERRORS
from possam_core.errors import ConfigError, one_line

IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "bytes")
BUFFER_BYTES = 2**23  # one request, so that a row group is never in memory as a whole


def open_container(uri: str) -> BinaryIO:
    """A seekable stream of a local file or an object; each `read` of an object is one request.

    Raises:
        OSError or BaseError: it cannot be opened.
    """
    path = local_path(uri)
    return Path(path).open("rb") if path is not None else cast(BinaryIO, ObjectFile(uri))


@contextmanager
def open_parquet(uri: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose row groups are read piece by piece.

    Raises:
        ConfigError: it cannot be opened, or a later read fails.
    """
    try:
        with (
            open_container(uri) as stream,
            pq.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False) as file,
        ):
            yield file
    except (pa.ArrowException, UnicodeDecodeError, *STORE_ERRORS) as error:
        reason = one_line(error)
        raise ConfigError(
            f"expected an intact Parquet file at {uri}, but reading it failed ({reason});"
            " write it again or check the address"
        ) from error


def embedded_column(schema: pa.Schema) -> str:
    """The column that holds the images: a struct with `bytes`, or bytes under a usual name.

    Raises:
        ConfigError: there is none.
    """
    structs: list[str] = [
        f.name for f in schema if pa.types.is_struct(f.type) and _holds_bytes(f.type)
    ]
    plain = [n for n in IMAGE_COLUMNS if n in schema.names and _is_binary(schema.field(n).type)]
    if found := sorted(structs, key=lambda name: name not in IMAGE_COLUMNS) + plain:
        return found[0]
    raise ConfigError(
        "expected a column of images (a struct with bytes and path, or bytes named"
        f" {' '.join(IMAGE_COLUMNS)}), got columns {' '.join(schema.names) or '(none)'};"
        " rename it, or name the uris of a manifest uri"
    )


def image_bytes(column: pa.Array) -> pa.Array:
    """The encoded images of an `embedded_column`; null where there is none."""
    found = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    is_plain = pa.types.is_binary(found.type) or pa.types.is_large_binary(found.type)
    return found if is_plain else found.cast(pa.large_binary())


def _holds_bytes(struct: pa.StructType) -> bool:
    index = struct.get_field_index("bytes")
    return index >= 0 and _is_binary(struct.field(index).type)


def _is_binary(type_: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(type_):
        type_ = type_.value_type
    return bool(
        types.is_binary(type_) or types.is_large_binary(type_) or types.is_binary_view(type_)
    )
