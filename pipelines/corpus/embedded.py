"""Lists images inside Parquet files, the form of published data sets, and the names they had."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.container import embedded_column, image_bytes, open_parquet
from pipelines.corpus.files import list_files
from pipelines.corpus.found_image import FoundImage, to_batches
from pipelines.corpus.image import content_etag
from possam_core.ahead import in_order
from possam_core.errors import ConfigError

PARQUET_ENDINGS = (".parquet",)
THREADS = 4
IMAGES_AHEAD = 1024  # of each file
ROWS = 16  # in memory at once, of each file


def read_embedded(images: str) -> Iterator[pa.RecordBatch]:
    """The rows of each Parquet file of an address, one image a row.

    Raises:
        ConfigError: the address cannot be listed, or a file is damaged or has no images.
    """
    files = (_images(file) for file in list_files(images, PARQUET_ENDINGS))
    return to_batches(in_order(files, threads=THREADS, ahead=IMAGES_AHEAD))


def embedded_names(uri: str) -> list[str | None]:
    """The path that a Parquet file records for each of its images, by row; None: it has none.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    with open_parquet(uri) as parquet:
        schema = parquet.schema_arrow
        column = embedded_column(schema)
        kind = schema.field(column).type
        if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
            return [None] * parquet.metadata.num_rows
        paths = parquet.read(columns=[f"{column}.path"])[column].combine_chunks()
        names: list[str | None] = pc.struct_field(paths, "path").to_pylist()
        return names


def _images(file: FoundImage) -> Iterator[FoundImage]:
    with open_parquet(file.uri) as parquet:
        try:
            column = embedded_column(parquet.schema_arrow)
        except ConfigError as error:
            raise ConfigError(f"{file.uri}: {error}") from error
        is_struct = pa.types.is_struct(parquet.schema_arrow.field(column).type)
        leaf = f"{column}.bytes" if is_struct else column
        row = 0
        for batch in parquet.iter_batches(ROWS, columns=[leaf]):
            for content in image_bytes(batch.column(0)):
                data = content.as_buffer() or pa.py_buffer(b"")  # null: no image
                yield FoundImage(
                    uri=f"{file.uri}#{row}",
                    relative_uri=f"{file.relative_uri}#{row}",
                    size=data.size,
                    etag=content_etag(pa.BufferReader(data)),
                    modified=file.modified,
                    container=file.uri,
                    offset=row,
                )
                row += 1
