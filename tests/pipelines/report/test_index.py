"""Tests of pipelines.report.index."""

import pytest

from pipelines.reader import open_run
from pipelines.report import index
from pipelines.report.index import RunIndex, measures
from tests.pipelines.report.hand_made import TRUNCATED, halves, write_run


@pytest.fixture
def rows(tmp_path):
    labels = {
        "a.png": halves("cat", "cat", score=0.25),
        "b.png": TRUNCATED,
        "c.png": halves("sky", "dog", score=0.875),
    }
    return open_run(write_run(tmp_path, labels)).read_shard(0)


def test_the_columns_of_three_rows_are_those_that_one_expects(rows, tmp_path):
    block = RunIndex(f"{tmp_path}/images/").add(rows)
    assert block.names == ["a.png", "b.png", "c.png"]
    assert block.measures["mean_score"] == [0.25, None, 0.875]
    assert block.measures["num_segments"] == [2, None, 2]
    assert block.measures["width"] == [64, None, 64]
    assert block.measures["consistency"] == [None, None, None]
    assert set(block.measures) == {measure.key for measure in measures()}
    assert block.messages == {1: ("it ends after 3 bytes",)}


def test_a_facet_holds_each_name_of_a_row_once(rows):
    columns = RunIndex("/elsewhere/")
    block = columns.add(rows)
    facets = {facet.key: facet for facet in columns.facets(with_pictures=False)}
    classes = block.facets["class"]
    assert classes.counts == [1, 0, 2]
    names = [facets["class"].names[value] for value in classes.values]
    assert names[0] == "cat"
    assert sorted(names[1:]) == ["dog", "sky"]
    grades = block.facets["grade"]
    assert (grades.counts, grades.values) == ([1, 0, 1], [3, 0])  # D and A
    assert facets["error"].names == ("truncated",)
    assert block.facets["error"].counts == [0, 1, 0]
    assert facets["reason"].names == ["low score"]


def test_more_messages_of_an_error_than_one_reads_are_left_out_but_counted(
    rows, tmp_path, monkeypatch
):
    monkeypatch.setattr(index, "MAX_MESSAGES", 1)
    columns = RunIndex(f"{tmp_path}/images/")
    assert [columns.add(rows).messages for _ in range(2)] == [{1: ("it ends after 3 bytes",)}, {}]
    (error,) = columns.errors()
    assert (error.code, error.count) == ("truncated", 2)
    assert error.samples == [("b.png", "it ends after 3 bytes")] * 2
