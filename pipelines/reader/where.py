"""Filter rows by a condition in SQL or an expression of pyarrow, over one flat row an image."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy import ndarray

from pipelines.schema import QUALITY_TYPE, ROW_SCHEMA
from possam_core.errors import ConfigError, first_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Where: TypeAlias = str | pc.Expression | None

# The columns of a condition: those of the row, each measure of its quality, its segment count.
FLAT_SCHEMA = pa.schema(
    [
        *(field for field in ROW_SCHEMA if field.name != "quality"),
        *(field.with_nullable(True) for field in QUALITY_TYPE),
        pa.field("num_segments", pa.int32()),
    ]
)
ROW_NUMBER = "_row"
# Measures that a model may not know of any image.
MAYBE_UNKNOWN = ("mean_predicted_iou", "entropy", "clip_agreement")

# Conditions come from command lines and forms, and must not reach files or extensions.
LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "lock_configuration": True,
    "threads": 1,
}


class Filter:
    """Keeps the rows that meet a condition; safe to call from many threads."""

    def __init__(self, where: Where) -> None:
        """Check the condition.

        Raises:
            ConfigError: it is not a condition over the flat columns.
        """
        if where is not None and not isinstance(where, (str, pc.Expression)):
            raise ConfigError(
                "expected a condition in SQL or an expression of pyarrow.compute, got"
                f" {type(where).__name__}; leave it out to keep every row"
            )
        self.where = where
        self._database = _connect() if isinstance(where, str) else None
        self.keep(ROW_SCHEMA.empty_table())

    def names(self, column: str) -> bool:
        """Whether the condition has the name of a column in it."""
        return column in re.findall(r"\w+", str(self.where).lower())

    def refuse_unknown(self, tables: Iterable[pa.Table]) -> None:
        """Return only if each measure that the condition names is known of an image.

        Args:
            tables: all rows, of `schema.ROW_SCHEMA`; read until one has the measure.

        Raises:
            ConfigError: there are segments, but of no image the measure is known.
        """
        missing = [name for name in MAYBE_UNKNOWN if self.names(name)]
        num_segments = 0
        for rows in tables if missing else ():
            quality = rows["quality"].combine_chunks()
            num_segments += len(pc.list_flatten(rows["segments_info"]))
            fields = {name: pc.struct_field(quality, name) for name in missing}
            missing = [n for n, values in fields.items() if values.null_count == len(values)]
            if not missing:
                return
        if missing and num_segments:
            raise ConfigError(
                f"expected a condition on what the model knows, got one on {' and '.join(missing)},"
                " which this model does not estimate for any image; leave that out"
            )

    def keep(self, rows: pa.Table) -> pa.Table:
        """Those of `rows`, which are of `schema.ROW_SCHEMA`, that meet the condition, in order.

        Raises:
            ConfigError: the condition cannot be evaluated on these rows.
        """
        if self.where is None:
            return rows
        numbers = pa.array(np.arange(rows.num_rows))
        kept = self._kept(flat_view(rows).append_column(ROW_NUMBER, numbers))
        return rows.take(pa.array(np.sort(kept)))

    def _kept(self, flat: pa.Table) -> ndarray:
        """Numbers of the rows that meet the condition, in any order."""
        if isinstance(self.where, pc.Expression):
            try:
                return np.asarray(flat.filter(self.where)[ROW_NUMBER])
            except (pa.ArrowException, TypeError) as error:
                raise _not_understood(self.where, error) from error
        import duckdb

        assert self._database is not None
        try:
            kept = self._database.cursor().from_arrow(flat).filter(self.where).project(ROW_NUMBER)
            return np.asarray(kept.fetchnumpy()[ROW_NUMBER])
        except duckdb.Error as error:
            raise _not_understood(self.where, error) from error


def flat_view(rows: pa.Table) -> pa.Table:
    """Rows of `schema.ROW_SCHEMA` in the columns of FLAT_SCHEMA."""
    quality = rows.select(["quality"]).flatten()
    columns = [rows[field.name] for field in ROW_SCHEMA if field.name != "quality"]
    num_segments = pc.list_value_length(rows["segments_info"])
    return pa.table([*columns, *quality.columns, num_segments], schema=FLAT_SCHEMA)


@dataclass(frozen=True, slots=True)
class FlatRows:
    """A flat view of many tables, which every query reads from the start."""

    tables: Callable[[], Iterator[pa.Table]]

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        batches = (b for rows in self.tables() for b in flat_view(rows).to_batches())
        reader = pa.RecordBatchReader.from_batches(FLAT_SCHEMA, batches)
        return reader.__arrow_c_stream__(requested_schema)


def _connect() -> "DuckDBPyConnection":
    import duckdb  # takes a tenth of a second, only needed for SQL

    return duckdb.connect(":memory:", config=LOCKED)


def _not_understood(where: Where, error: Exception) -> ConfigError:
    return ConfigError(
        f"expected a condition over the columns {', '.join(FLAT_SCHEMA.names)}, got {str(where)!r}"
        f" ({first_line(error)}); such as grade <= 'B' and mean_score > 0.6"
    )
