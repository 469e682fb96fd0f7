"""The classes of a run that does not store its vocabulary, found in its labels."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.run.classes import Category

__all__ = ["Category", "categories_of"]

FIELDS = {"category_id": "id", "category_name": "name", "isthing": "is_thing", "is_seen": "is_seen"}


def categories_of(tables: Iterable[pa.Table]) -> tuple[Category, ...]:
    """The classes that occur in tables of `schema.ROW_SCHEMA`, ordered by id."""
    found: dict[int, Category] = {}
    for rows in tables:
        segments = pc.list_flatten(rows["segments_info"])
        columns = {new: pc.struct_field(segments, name) for name, new in FIELDS.items()}
        distinct = pa.table(columns).group_by(list(columns)).aggregate([])
        found |= {record["id"]: Category(**record) for record in distinct.to_pylist()}
    return tuple(found[category_id] for category_id in sorted(found))
