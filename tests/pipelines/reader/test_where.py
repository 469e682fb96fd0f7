"""Tests of pipelines.reader.where, with DuckDB over the Parquet files as the judge."""

import threading
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pytest

from pipelines import open_run
from pipelines.reader.where import FLAT_SCHEMA, Filter
from pipelines.run.folder import shard_key
from pipelines.schema import ROW_SCHEMA
from possam_core.errors import ConfigError

# And how many of the eight rows each keeps.
CONDITIONS = {
    "true": 8,
    "grade <= 'B' and mean_score > 0.6": 5,
    "grade IN ('B', 'C') OR error_code = 'not_an_image'": 3,
    "num_segments >= 5 and width > height": 3,
    "coverage >= 0.99 AND 'low_score' = ANY(reasons)": 2,
    "len(list_filter(segments_info, lambda s: s.isthing and s.area > 5000)) > 1": 1,
    "consistency IS NULL and uri NOT LIKE '%7.jpg'": 7,
    "mean_score < 0.4 -- none": 0,
}


def kept(run: Path, where: object) -> list[str]:
    tables = open_run(str(run), where=where).tables()
    return [image_id for rows in tables for image_id in rows["image_id"].to_pylist()]


def judged(run: Path, condition: str) -> list[str]:
    """What DuckDB finds in the files themselves."""
    files = [str(run / shard_key(shard)) for shard in range(3)]
    query = f"""
        WITH flat AS (
            SELECT * EXCLUDE (quality), unnest(quality), len(segments_info) AS num_segments
            FROM read_parquet({files}, filename=true, file_row_number=true)
        )
        SELECT image_id FROM flat WHERE ({condition}
        ) ORDER BY filename, file_row_number"""
    return [image_id for (image_id,) in duckdb.connect().execute(query).fetchall()]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_keeps_exactly_the_rows_that_duckdb_keeps(run: Path, condition: str) -> None:
    found = kept(run, condition)
    assert found == judged(run, condition)
    assert len(found) == CONDITIONS[condition]


def test_an_expression_of_pyarrow_sees_the_same_columns(run: Path) -> None:
    expression = (pc.field("grade") <= "B") & (pc.field("mean_score") > 0.65)
    assert kept(run, expression) == judged(run, "grade <= 'B' and mean_score > 0.65")
    assert kept(run, pc.field("num_segments") > 5) == judged(run, "num_segments > 5")
    assert kept(run, pc.field("status") == "error") == judged(run, "status = 'error'")


def test_there_is_a_column_for_every_field_of_a_row_but_quality(run: Path) -> None:
    names = [field.name for field in ROW_SCHEMA if field.name != "quality"]
    names += [field.name for field in ROW_SCHEMA.field("quality").type]
    assert FLAT_SCHEMA.names == [*names, "num_segments"]
    assert open_run(str(run)).to_duckdb().columns == FLAT_SCHEMA.names


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("grad <= 'B'", 'Referenced column "grad" not found'),
        ("grade <=", "syntax error"),
        ("", "SELECT clause without"),
        ("grade, mean_score", "single expression"),
        ("sum(mean_score) > 1", "aggregates"),
        (pc.field("grad") == "A", "No match for FieldRef.Name"),
        (pc.field("grade") > 1, "no kernel"),
    ],
)
def test_an_invalid_condition_is_refused_with_the_existing_columns(
    run: Path, where: object, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        open_run(str(run), where=where)
    assert "mean_score, min_score" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_is_text_or_an_expression(run: Path) -> None:
    with pytest.raises(ConfigError, match="got int; leave it out"):
        open_run(str(run), where=3)


def test_a_condition_that_fails_on_a_row_is_one_sentence(run: Path) -> None:
    opened = open_run(str(run), where="CAST(grade AS INT) > 1")
    with pytest.raises(ConfigError, match="Could not convert string 'A' to INT32"):
        opened.read_shard(0)


@pytest.mark.parametrize(
    "source", ["read_text('{file}')", "'{file}'", "read_csv('{file}')", "glob('/*')", "rows"]
)
def test_a_condition_reaches_no_file_and_no_variable(
    run: Path, tmp_path: Path, source: str
) -> None:
    rows = [{"a": 1}]  # which DuckDB would find by its name
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with pytest.raises(ConfigError, match="expected a condition over the columns"):
        open_run(str(run), where=f"EXISTS (FROM {source.format(file=secret)})")
    assert rows


def test_a_filter_serves_many_threads(run: Path) -> None:
    rows = open_run(str(run)).read_shard(1)
    condition, found = Filter("mean_score > 0.65"), []
    threads = [
        threading.Thread(target=lambda: found.append(condition.keep(rows).num_rows))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8
