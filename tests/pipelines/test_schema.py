"""Tests of pipelines.schema: the row as Arrow and as Python see it is the same."""

from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pyarrow as pa
import pytest

from pipelines.schema import (
    ERROR,
    OK,
    QUALITY_TYPE,
    ROW_SCHEMA,
    SEGMENT_TYPE,
    LabelledRow,
    QualityRecord,
    Row,
    SegmentInfo,
    is_labelled,
    to_rows,
)


def described(hint: Any) -> Any:
    """A Python type, described in words that also describe Arrow types."""
    if is_typeddict(hint):
        return {name: described(each) for name, each in get_type_hints(hint).items()}
    if get_origin(hint) is UnionType:
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        return "nullable", described(inner)
    if get_origin(hint) is list:
        return [described(get_args(hint)[0])]
    return hint


def described_arrow(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return described_fields(kind)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return [described_arrow(kind.value_type)]
    named = {
        pa.types.is_string: str,
        pa.types.is_boolean: bool,
        pa.types.is_integer: int,
        pa.types.is_floating: float,
    }
    (found,) = (python for is_kind, python in named.items() if is_kind(kind))
    return found


def described_fields(fields: Any) -> dict[str, Any]:
    found = {field.name: described_arrow(field.type) for field in fields}
    return {
        field.name: ("nullable", found[field.name]) if field.nullable else found[field.name]
        for field in fields
    }


@pytest.mark.parametrize(
    ("python", "arrow"),
    [(Row, ROW_SCHEMA), (SegmentInfo, SEGMENT_TYPE), (QualityRecord, QUALITY_TYPE)],
)
def test_the_type_of_a_row_and_its_arrow_schema_agree_field_by_field(
    python: type, arrow: Any
) -> None:
    assert described(python) == described_fields(arrow)


def test_a_labelled_row_has_the_fields_of_a_row_with_a_size_and_a_quality() -> None:
    row = described(Row)
    for name in ("width", "height", "exif_orientation", "quality"):
        row[name] = row[name][1]
    assert described(LabelledRow) == row


def test_rows_come_out_of_a_table_and_say_whether_they_are_labelled() -> None:
    rows = [
        {"image_id": name, "uri": name, "status": status, "segments_info": []}
        for name, status in (("a", OK), ("b", ERROR))
    ]
    first, second = to_rows(pa.Table.from_pylist(rows, schema=ROW_SCHEMA))
    assert (first["image_id"], first["width"]) == ("a", None)
    assert is_labelled(first)
    assert not is_labelled(second)
