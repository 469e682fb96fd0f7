"""Tests of pipelines.run.newest."""

import pyarrow as pa

from pipelines.run.newest import NewerImages, age_group


def rows(**errors: str) -> pa.Table:
    return pa.table({"image_id": [*errors], "error_code": [*errors.values()]})


def test_of_files_read_newest_first_an_image_counts_once() -> None:
    newer = NewerImages()
    correction, retry, shard = rows(a="new"), rows(a="mid", b="mid"), rows(a="x", b="x", c="x")
    assert newer.without(correction).num_rows == 1
    newer.add(correction["image_id"].chunks)
    assert newer.without(retry).to_pylist() == [{"image_id": "b", "error_code": "mid"}]
    newer.add(retry["image_id"].chunks)
    assert newer.without(shard).to_pylist() == [{"image_id": "c", "error_code": "x"}]


def test_the_shards_of_a_round_are_of_one_age_and_each_correction_of_its_own() -> None:
    shards = [f"data-retry-002/g=0000/shard-0000000{i}.parquet" for i in (0, 1)]
    corrections = [f"corrections/0000{i}-20261130T000000Z.parquet" for i in (1, 2)]
    assert {*map(age_group, shards)} == {"data-retry-002"}
    assert len({*map(age_group, corrections)}) == 2
