"""The images that a plan has, those that it drops, and its files."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.image import make_image_id
from pipelines.planning import freeze
from pipelines.planning.freeze import freeze_plan
from pipelines.run import parts
from pipelines.run.folder import RunFolder, plan_key
from pipelines.run.parts import read_shard
from pipelines.run.plan import Plan, PlanSettings, TeacherRecord, load_plan, refuse_other_settings
from pipelines.schema import INPUT_SCHEMA
from possam_core.errors import ConfigError

SETTINGS = PlanSettings(
    images="/corpus",
    model="tiny",
    model_sha256="aaaaaaaaaa",
    vocabulary="toys",
    vocabulary_sha256="bbbbbbbbbb",
    shard_size=2,
)


def listed(name: str, **changes: Any) -> dict[str, Any]:
    """An image as a source lists it, of its own content."""
    row = dict.fromkeys(INPUT_SCHEMA.names)
    return row | {"uri": f"s3://b/{name}", "relative_uri": name, "size": 9, "etag": name} | changes


FIVE = [listed(name) for name in "abcde"]


def batches(rows: list[dict[str, Any]], size: int = 2) -> Iterator[pa.RecordBatch]:
    for first in range(0, len(rows), size):
        yield pa.RecordBatch.from_pylist(rows[first : first + size], schema=INPUT_SCHEMA)


def planned(run: RunFolder, plan: Plan) -> list[str]:
    shards = (read_shard(run, shard) for shard in range(plan.num_shards))
    return [image.uri.removeprefix("s3://b/") for images in shards for image in images]


def dropped(run: RunFolder) -> list[tuple[str, str]]:
    keys = sorted(k for k in run.keys("_plan") if "duplicates" in k)
    tables = [pq.ParquetFile(pa.BufferReader(run.read(key))).read() for key in keys]
    rows = [row for table in tables for row in table.to_pylist()]
    return [(row["uri"].removeprefix("s3://b/"), row["reason"]) for row in rows]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"), create=True)


def test_shards_cover_the_images_in_order(run: RunFolder) -> None:
    plan = freeze_plan(run, SETTINGS, batches(FIVE))
    assert (plan.num_images, plan.num_shards) == (5, 3)
    assert [plan.images_in(s) for s in range(3)] == [2, 2, 1]
    assert planned(run, plan) == list("abcde")
    (image,) = read_shard(run, 2)
    assert (image.image_id, image.size, image.etag) == (make_image_id("e", "e"), 9, "e")


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_shards_do_not_depend_on_how_the_images_arrive(tmp_path: Path, batch_size: int) -> None:
    plans = [
        freeze_plan(RunFolder(str(tmp_path / name), create=True), SETTINGS, batches(FIVE, size))
        for name, size in (("one", 2), ("other", batch_size))
    ]
    assert plans[0] == plans[1]


def test_shards_are_found_in_later_parts(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SHARDS_A_PART", 2)
    monkeypatch.setattr(freeze, "SHARDS_A_PART", 2)
    plan = freeze_plan(run, SETTINGS, batches(FIVE))
    assert sorted(run.keys("_plan")) == [
        "_plan/part-00000.parquet",
        "_plan/part-00001.parquet",
        "_plan/plan.json",
    ]
    assert planned(run, plan) == list("abcde")


def test_what_repeats_an_address_or_a_content_is_listed_and_not_planned(run: RunFolder) -> None:
    rows = [*FIVE, listed("b"), listed("f", etag="c"), listed("g", etag="c", size=8), listed("f")]
    plan = freeze_plan(run, SETTINGS, batches(rows))
    assert planned(run, plan) == [*"abcde", "g"]
    assert plan.num_dropped == 3
    assert dropped(run) == [("b", "same address"), ("f", "same content"), ("f", "same address")]


def test_empty_files_and_unknown_contents_are_not_taken_for_one_another(run: RunFolder) -> None:
    empty = [listed(name, size=0, etag="e3b0") for name in "ab"]
    unknown = [listed(name, size=None, etag=None) for name in "cd"]
    assert planned(run, freeze_plan(run, SETTINGS, batches(empty + unknown))) == list("abcd")


def test_a_limit_takes_the_first_images_and_stops_listing(run: RunFolder) -> None:
    asked = []

    def source() -> Iterator[pa.RecordBatch]:
        for name in ("a", "a", "b", "c", "d", "e"):
            asked.append(name)
            yield from batches([listed(name)])

    plan = freeze_plan(run, replace(SETTINGS, limit=2), source())
    assert planned(run, plan) == ["a", "b"]
    assert asked == ["a", "a", "b", "c"]  # looks after 2 and after 4


def test_a_sample_is_the_share_asked_for_and_the_same_every_time(tmp_path: Path) -> None:
    rows = [listed(f"{i:04d}") for i in range(2000)]
    half, again, quarter = (
        set(planned(run, freeze_plan(run, replace(SETTINGS, sample=sample), batches(source))))
        for run, sample, source in (
            (RunFolder(str(tmp_path / "a"), create=True), 0.5, rows),
            (RunFolder(str(tmp_path / "b"), create=True), 0.5, rows[::-1]),
            (RunFolder(str(tmp_path / "c"), create=True), 0.25, rows),
        )
    )
    assert half == again > quarter
    assert 900 < len(half) < 1100  # 4.5 standard deviations


def test_since_takes_what_was_modified_from_then_on(run: RunFolder) -> None:
    rows = [listed(str(day), modified=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2, 3)]
    settings = replace(SETTINGS, since="2026-01-02T00:00:00+00:00")
    assert planned(run, freeze_plan(run, settings, batches(rows))) == ["2", "3"]


def test_since_needs_times(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="--since"):
        freeze_plan(run, replace(SETTINGS, since="2026-01-02T00:00:00+00:00"), batches(FIVE))


def test_nothing_left_to_plan_is_refused(run: RunFolder) -> None:
    rows = [listed("a", modified=datetime(2026, 1, 1, tzinfo=UTC))]
    with pytest.raises(ConfigError, match="none of the 1 in"):
        freeze_plan(run, replace(SETTINGS, since="2026-01-02T00:00:00+00:00"), batches(rows))
    assert list(run.keys("_plan")) == []


def test_given_ids_are_kept_and_must_differ(run: RunFolder, tmp_path: Path) -> None:
    rows = [listed("a", image_id="first"), listed("b"), listed("c", image_id="third")]
    freeze_plan(run, SETTINGS, batches(rows))
    ids = [image.image_id for shard in (0, 1) for image in read_shard(run, shard)]
    assert ids == ["first", make_image_id("b", "b"), "third"]
    other = RunFolder(str(tmp_path / "other"), create=True)
    rows += [listed("d", image_id="first")]
    with pytest.raises(ConfigError, match="'first' of s3://b/d"):
        freeze_plan(other, SETTINGS, batches(rows))


def test_a_frozen_plan_stays_as_it_is(run: RunFolder) -> None:
    plan = freeze_plan(run, SETTINGS, batches(FIVE))
    assert load_plan(run) == plan == freeze_plan(run, SETTINGS, batches(FIVE))


def test_the_plan_id_depends_on_images_and_settings_but_not_on_names(tmp_path: Path) -> None:
    def plan_id(number: int, settings: PlanSettings, rows: list[dict[str, Any]]) -> str:
        run = RunFolder(str(tmp_path / str(number)), create=True)
        return freeze_plan(run, settings, batches(rows)).plan_id

    first = plan_id(0, SETTINGS, FIVE)
    named = replace(SETTINGS, model="./tiny.safetensors", vocabulary_source="toys.yaml")
    assert plan_id(1, named, FIVE) == first
    assert plan_id(2, replace(SETTINGS, model_sha256="c"), FIVE) != first
    assert plan_id(3, replace(SETTINGS, precision="bfloat16"), FIVE) != first
    assert plan_id(4, SETTINGS, FIVE[:4]) != first


def test_an_unfinished_plan_of_the_same_images_is_completed(run: RunFolder, tmp_path: Path) -> None:
    plan = freeze_plan(run, SETTINGS, batches(FIVE))
    (tmp_path / "run/_plan/plan.json").unlink()
    assert freeze_plan(run, SETTINGS, batches(FIVE)) == plan


def test_an_unfinished_plan_of_other_images_is_refused(run: RunFolder, tmp_path: Path) -> None:
    freeze_plan(run, SETTINGS, batches(FIVE))
    (tmp_path / "run/_plan/plan.json").unlink()
    with pytest.raises(ConfigError, match="lists other images"):
        freeze_plan(run, SETTINGS, batches(FIVE[1:]))


def test_a_plan_of_an_unknown_form_is_refused(run: RunFolder) -> None:
    freeze_plan(run, SETTINGS, batches(FIVE))
    content = run.read_json("_plan/plan.json")
    del content["num_shards"]
    run.replace("_plan/plan.json", json.dumps(content).encode())
    with pytest.raises(ConfigError, match="num_shards"):
        load_plan(run)


def test_other_settings_are_refused_with_every_difference(run: RunFolder) -> None:
    plan = freeze_plan(run, SETTINGS, batches(FIVE))
    refuse_other_settings(run, plan, replace(SETTINGS, model="same weights, other name"))
    other = replace(SETTINGS, shard_size=3, vocabulary="tools", vocabulary_sha256="cccccccccc")
    with pytest.raises(ConfigError) as caught:
        refuse_other_settings(run, plan, other)
    message = str(caught.value)
    assert "vocabulary toys (bbbbbbbb) -> tools (cccccccc)" in message
    assert "shard_size 2 -> 3" in message
    assert "\n" not in message


def test_a_plan_of_another_schema_is_refused_before_anything_is_mixed(run: RunFolder) -> None:
    freeze_plan(run, SETTINGS, batches(FIVE))
    head = run.read_json(plan_key(0))
    run.replace(plan_key(0), json.dumps(head | {"schema_version": "1"}).encode())
    with pytest.raises(
        ConfigError, match=r"expected a plan of schema 2 or 3 in .*, got 1; use the ver"
    ):
        load_plan(run)
    del head["schema_version"]
    run.replace(plan_key(0), json.dumps(head).encode())
    with pytest.raises(ConfigError, match="lacks or adds something"):
        load_plan(run)


def test_a_plan_with_another_share_of_changed_copies_gives_other_labels() -> None:
    asked = replace(SETTINGS, consistency_share=0.1)
    assert SETTINGS.differences(asked) == ["consistency_share 0.0 -> 0.1"]


def test_the_plan_keeps_what_is_known_of_the_teacher_and_labels_do_not_depend_on_it(
    tmp_path: Path,
) -> None:
    teacher = TeacherRecord(name="fc-clip", revision="v2", licence=None, files={"a.pth": "ab"})
    named = replace(SETTINGS, teacher=teacher)
    first, second = (
        freeze_plan(RunFolder(str(tmp_path / name), create=True), settings, batches(FIVE))
        for name, settings in (("a", SETTINGS), ("b", named))
    )
    assert (first.settings.teacher, second.settings.teacher) == (None, teacher)
    assert first.plan_id == second.plan_id
    assert SETTINGS.differences(named) == []
    assert (teacher.text, teacher.files_text) == (
        "fc-clip (revision v2, licence not known)",
        "a.pth (sha256 ab)",
    )
