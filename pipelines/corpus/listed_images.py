"""Reads manifests, which are lists of images: Parquet, CSV or JSON Lines.

Columns: `uri` (required), `image_id`, `size`, `etag`, `modified`; others are ignored.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from pipelines.corpus.container import open_container, open_parquet
from pipelines.corpus.files import list_files
from pipelines.corpus.found_image import BATCH_ROWS
from pipelines.corpus.manifest_uris import UriRules
from pipelines.schema import INPUT_SCHEMA
from pipelines.storage.store import STORE_ERRORS
from possam_core.errors import ConfigError, one_line

MANIFEST_ENDINGS = (".csv", ".jsonl", ".ndjson")
BLOCK_BYTES = 2**22  # of text, in memory at once; a row must not be longer

COLUMNS = pa.schema(
    [INPUT_SCHEMA.field(name) for name in ("uri", "image_id", "size", "etag", "modified")]
)
EXPECTED = ", ".join(f"{field.name} ({field.type})" for field in COLUMNS)
TEXT = pa.schema([pa.field(name, pa.string()) for name in COLUMNS.names])


def read_manifests(
    images: str, endings: tuple[str, ...], allowed_hosts: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows of each manifest of an address, in the order of the manifests.

    Raises:
        ConfigError: the address cannot be listed, or a manifest is damaged or breaks the rules.
    """
    for file in list_files(images, endings):
        rules = UriRules(manifest=file.uri, allowed_hosts=tuple(allowed_hosts))
        row = 1
        for rows in _read(file.uri):
            for start in range(0, rows.num_rows, BATCH_ROWS):
                batch = _to_input(rows.slice(start, BATCH_ROWS), rules, row)
                yield batch
                row += batch.num_rows


def is_manifest(schema: pa.Schema) -> bool:
    """Whether the rows of a Parquet file name images rather than contain them."""
    return schema.get_field_index("uri") >= 0 and _is_text(schema.field("uri").type)


def _read(uri: str) -> Iterator[pa.RecordBatch]:
    """The columns of a manifest, in large batches and with the file's types."""
    if uri.lower().endswith(".parquet"):
        with open_parquet(uri) as parquet:
            columns = _require_columns(parquet.schema_arrow.names, uri)
            for name in columns:
                _require_type(parquet.schema_arrow.field(name), uri)
            yield from parquet.iter_batches(BATCH_ROWS, columns=columns)
        return
    try:
        yield from _csv_rows(uri) if uri.lower().endswith(".csv") else _json_rows(uri)
    except (pa.ArrowException, UnicodeDecodeError, *STORE_ERRORS) as error:
        reason = one_line(error)
        raise ConfigError(
            f"expected rows with {EXPECTED} in {uri}, but reading them failed ({reason});"
            " correct the file or the address"
        ) from error


def _csv_rows(uri: str) -> Iterator[pa.RecordBatch]:
    with open_container(uri) as stream:
        names = _require_columns(pa.csv.open_csv(stream).schema.names, uri)
    # Everything as text: numbers are made later, with an error that names the column.
    convert = pa.csv.ConvertOptions(
        column_types=TEXT, include_columns=names, strings_can_be_null=True, null_values=[""]
    )
    with open_container(uri) as stream:
        yield from pa.csv.open_csv(
            stream,
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=convert,
        )


def _json_rows(uri: str) -> Iterator[pa.RecordBatch]:
    types = COLUMNS.set(COLUMNS.get_field_index("modified"), TEXT.field("modified"))
    types = pa.schema([field.with_nullable(True) for field in types])
    with open_container(uri) as stream:
        yield from pa.json.open_json(
            stream,
            read_options=pa.json.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pa.json.ParseOptions(
                explicit_schema=types, unexpected_field_behavior="ignore"
            ),
        )


def _require_columns(found: list[str], uri: str) -> list[str]:
    """The columns of a manifest among all.

    Raises:
        ConfigError: `uri` is missing, or one of them appears more than once.
    """
    if "uri" not in found:
        raise ConfigError(
            f"expected a column uri in {uri}, got {' '.join(found) or 'none'}; add it"
        )
    for name in COLUMNS.names:
        if found.count(name) > 1:
            raise ConfigError(
                f"expected one column {name} in {uri}, got several; rename the others"
            )
    return [name for name in COLUMNS.names if name in found]


def _require_type(field: pa.Field, uri: str) -> None:
    """Return only if a column of a Parquet file has the required type, of any width."""
    wanted = COLUMNS.field(field.name).type
    fits = {
        pa.string(): _is_text,
        pa.int64(): pa.types.is_integer,
        pa.timestamp("us", "UTC"): pa.types.is_timestamp,
    }[wanted]
    if not fits(field.type) and not pa.types.is_null(field.type):
        raise ConfigError(
            f"expected {wanted} in column {field.name} of {uri}, got {field.type};"
            " convert it or rename the column"
        )


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    types = pa.types
    return bool(
        types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_)
    )


def _to_input(rows: pa.RecordBatch, rules: UriRules, first_row: int) -> pa.RecordBatch:
    """The rows in INPUT_SCHEMA, each with a uri that can be read."""
    try:
        rows.validate(full=True)  # what is not UTF-8 would fail far from here
    except pa.ArrowInvalid as error:
        raise ConfigError(
            f"expected UTF-8 in {rules.manifest}, got other bytes after row {first_row} ({error});"
            " write it again"
        ) from error
    columns = {name: pa.nulls(rows.num_rows, type_) for name, type_ in _types(INPUT_SCHEMA)}
    for name, type_ in _types(COLUMNS):
        if name in rows.schema.names:
            try:
                columns[name] = _cast(rows.column(name), type_)
            except pa.ArrowInvalid as error:
                raise ConfigError(
                    f"expected {type_} in column {name} of {rules.manifest}, but after row"
                    f" {first_row} converting failed ({error}); correct the value"
                ) from error
    columns["relative_uri"] = columns["uri"]
    columns["uri"] = rules.resolve(columns["uri"], first_row)
    columns["image_id"] = _without_blanks(columns["image_id"])
    columns["etag"] = _without_blanks(pc.ascii_trim(columns["etag"], '"'))
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=INPUT_SCHEMA)


def _types(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return list(zip(schema.names, schema.types, strict=True))


def _cast(column: pa.Array, type_: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(type_):
        if not _is_text(column.type):
            return column.cast(type_, safe=False)  # nanoseconds may be lost
        try:
            return column.cast(type_)
        except pa.ArrowInvalid:
            return column.cast(pa.timestamp("us")).cast(type_)  # no zone: it is UTC
    return column.cast(type_)


def _without_blanks(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(column, ""), None, column)
