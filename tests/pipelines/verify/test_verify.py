import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pycocotools import mask

from pipelines.corrections import correct_run
from pipelines.run.finalise import finalise
from pipelines.run.folder import (
    VOCABULARY_KEY,
    RunFolder,
    draft_folder,
    plan_key,
    plan_part_key,
    shard_key,
)
from pipelines.schema import ROW_SCHEMA
from pipelines.verify import folder, verify_run
from pipelines.verify.labels import ClaimedLabels, label_problems
from possam_core.errors import ConfigError
from tests.pipelines.damaging import (
    PART_KEY,
    Rows,
    add_retry,
    read_rows,
    rewrite,
    rewrite_json,
    rewrite_part,
)
from tests.pipelines.formats.annotators import write_coco

MANIFEST = "_manifest.json"
FIRST, SECOND = shard_key(0), shard_key(1)
BROKEN_SCENE = 1  # of the five in the run: shards of three and two images
NO_IMAGE = b"no image"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a finished run, which the first test makes and the others copy."""
    return tmp_path_factory.mktemp("original") / "run"


@pytest.fixture
def run(original: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a finished run of four labelled images and one error, for the test to damage."""
    if not original.exists():
        made = request.getfixturevalue("make_run")(5, damage={BROKEN_SCENE: NO_IMAGE}).run
        for shard in (0, 1):
            rewrite(made, shard=shard, metadata={"shard": str(shard)})
        finalise(RunFolder(str(made)))
        shutil.copytree(made, original)
    return Path(shutil.copytree(original, tmp_path / "copy"))


def problems_of(run: Path | str) -> list[str]:
    return verify_run(str(run)).problems


def file_problems(run: Path) -> list[str]:
    """Problems except those of the manifest, which has one for every change of a file."""
    return [p for p in problems_of(run) if not p.startswith(f"{MANIFEST}: ")]


def content_of(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_finished_run_has_no_problems_and_is_counted_and_left_alone(run: Path) -> None:
    before, calls = content_of(run), []
    report = verify_run(str(run), on_file=lambda done, total: calls.append((done, total)))
    assert report.problems == []
    assert report.is_complete
    assert (report.num_images, report.num_files, report.num_rounds) == (5, 2, 1)
    segments = [len(row["segments_info"]) for shard in (0, 1) for row in read_rows(run, shard)]
    assert report.num_segments == sum(segments) > 0
    assert calls == [(1, 2), (2, 2)]
    assert content_of(run) == before


# Row 0 of the first shard begins with two things, and row 1 is the error. Row 1 of the second
# shard has three stuff segments, which are the third to the fifth of its segments.
LABELLED, FAILED = 0, 1


def named(run: Path, row: int, shard: int = 0) -> str:
    """The beginning of the problems of a row."""
    return f"{shard_key(shard)}: image {read_rows(run, shard)[row]['image_id']}: "


def segment(name: str, change: Callable[[Any], object]) -> Callable[[Rows], None]:
    """Changes one field of the first segment."""

    def damage(rows: Rows) -> None:
        found = rows[LABELLED]["segments_info"][0]
        found[name] = change(found[name])

    return damage


def quality(name: str, by: float) -> Callable[[Rows], None]:
    def damage(rows: Rows) -> None:
        rows[LABELLED]["quality"][name] += by

    return damage


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (segment("area", lambda a: a + 1), "segment 1 has area 5848, its mask has 5847"),
        (segment("bbox", lambda b: [b[0] + 1, *b[1:]]), "segment 1 has bbox .*, its mask has"),
        (segment("bbox", lambda b: [None, *b[1:]]), "segment 1 has bbox .*, its mask has"),
        (segment("id", lambda _: 2), r"segment ids are \[2, 2, 3, .*each one once"),
        (segment("id", lambda _: 0), r"segment ids are \[0, 2, 3, .*from 1 up"),
        (quality("coverage", -1e-6), r"coverage is 0\.\d+, its masks cover"),
        (quality("num_things", 1), "num_things is 10, its segments are 9"),
        (quality("num_stuff", 1), "num_stuff is 2, its segments are 1"),
    ],
)
def test_labels_that_contradict_their_masks_are_named(
    run: Path, change: Callable, expected: str
) -> None:
    rewrite(run, change)
    (problem,) = file_problems(run)
    assert re.match(named(run, LABELLED) + expected, problem)


def test_segments_that_overlap_are_named(run: Path) -> None:
    def grow_over_neighbour(rows: Rows) -> None:
        row = rows[LABELLED]
        first, second = row["segments_info"][:2]
        union = mask.merge([first["segmentation"], second["segmentation"]])
        first["segmentation"]["counts"] = union["counts"].decode()
        first["area"] = int(mask.area(union))
        first["bbox"] = mask.toBbox(union).astype(int).tolist()
        areas = [s["area"] for s in row["segments_info"]]
        row["quality"]["coverage"] = sum(areas) / (row["height"] * row["width"])

    second_area = read_rows(run)[LABELLED]["segments_info"][1]["area"]
    rewrite(run, grow_over_neighbour)
    assert file_problems(run) == [f"{named(run, LABELLED)}segments overlap in {second_area} pixels"]


def test_stuff_of_a_class_in_two_segments_is_named(run: Path) -> None:
    def merge_classes(rows: Rows) -> None:
        *_, one, other = rows[1]["segments_info"]
        other["category_id"] = one["category_id"] = 48

    rewrite(run, merge_classes, shard=1)
    assert file_problems(run) == [
        f"{named(run, 1, shard=1)}stuff of category 48 is 2 segments, expected one"
    ]


def chars(*numbers: int) -> str:
    """COCO's signed base 32: five bits a character from the lowest up, plus 32 if more follow."""
    text = ""
    for number in numbers:
        rest, has_more = number, True
        while has_more:
            digit, rest = rest & 31, rest >> 5
            has_more = rest != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * has_more)
    return text


def padded(number: int) -> str:
    """`number` in more characters than it needs."""
    text = chars(number)
    return text[:-1] + chr(ord(text[-1]) + 32) + "P" * 40 + "0"


@pytest.mark.parametrize(
    "counts",
    [
        lambda pixels: "",
        lambda pixels: chars(pixels - 1),  # too short
        lambda pixels: chars(10, 20, pixels - 29),  # too long
        lambda pixels: chars(10, pixels - 10) + "P",  # ends in the middle of a number
        lambda pixels: chars(10, pixels - 10) + "\x80",  # not of the alphabet
        lambda pixels: " " + chars(10, pixels - 10),  # not of the alphabet
        lambda pixels: chars(0, 32, pixels - 32).replace(
            "P", "p"
        ),  # not of the alphabet, but with the same low bits
        lambda pixels: chars(-5, pixels + 5),
        lambda pixels: chars(5, 0, pixels - 5),
        lambda pixels: chars(0, 5, 0, pixels - 10),  # the last one relative to the 5: pixels - 5
        lambda pixels: chars(0) + padded(pixels),
        lambda pixels: chars(*[0] * pixels * 2, pixels),  # pycocotools would write past its end
    ],
)
def test_a_mask_that_is_no_rle_of_the_image_is_named(run: Path, counts: Callable) -> None:
    row = read_rows(run)[LABELLED]
    height, width = row["height"], row["width"]
    text = counts(height * width)
    rewrite(run, segment("segmentation", lambda m: {**m, "counts": text}))
    assert file_problems(run) == [
        f"{named(run, LABELLED)}segment 1 has a mask that is no RLE of {height} x {width} pixels"
    ]


def test_a_mask_of_another_size_is_named(run: Path) -> None:
    rewrite(run, segment("segmentation", lambda m: {**m, "size": [m["size"][0], 7]}))
    height = read_rows(run)[LABELLED]["height"]
    (problem,) = file_problems(run)
    assert problem.startswith(f"{named(run, LABELLED)}segment 1 has a mask of size [{height}, 7],")


@pytest.mark.parametrize(
    ("row", "changes", "expected"),
    [
        (LABELLED, {"status": "fine"}, "has status 'fine', expected ok or error"),
        (LABELLED, {"error_code": "empty"}, "is ok, but has error_code 'empty' or a message"),
        (LABELLED, {"error_message": "?"}, "is ok, but has error_code None or a message"),
        (LABELLED, {"width": None}, "is ok, but lacks its size, exif_orientation or quality"),
        (LABELLED, {"height": 0}, "is ok, but lacks its size, exif_orientation or quality"),
        (LABELLED, {"quality": None}, "is ok, but lacks its size, exif_orientation or quality"),
        (FAILED, {"error_code": "ugly"}, "has error_code 'ugly', which is no ImageErrorCode"),
        (FAILED, {"error_code": None}, "has error_code None, which is no ImageErrorCode"),
        (FAILED, {"height": 9}, "is an error, but has a size, segments or quality"),
        (LABELLED, {"status": "error", "error_code": "empty"}, "is an error, but has a size"),
    ],
)
def test_a_row_has_what_its_status_says(
    run: Path, row: int, changes: dict[str, object], expected: str
) -> None:
    rewrite(run, lambda rows: rows[row].update(changes))
    (problem,) = file_problems(run)
    assert problem.startswith(named(run, row) + expected)


@pytest.mark.parametrize("name", ["segments_info", "quality"])
def test_an_error_has_no_labels(run: Path, name: str) -> None:
    rewrite(run, lambda rows: rows[FAILED].update({name: rows[LABELLED][name]}))
    assert file_problems(run) == [
        f"{named(run, FAILED)}is an error, but has a size, segments or quality"
    ]


def test_a_file_with_hundreds_of_problems_shows_twenty_and_counts_the_others(run: Path) -> None:
    def widen_all(rows: Rows) -> None:
        for s in rows[LABELLED]["segments_info"]:
            s["area"] += 1
            s["bbox"][2] += 1
        for s in rows[2]["segments_info"]:
            s["area"] += 1

    numbers = [len(read_rows(run)[i]["segments_info"]) for i in (LABELLED, 2)]
    num_problems = 2 * numbers[0] + numbers[1]
    rewrite(run, widen_all)
    problems = file_problems(run)
    assert len(problems) == 21
    assert problems[-1] == f"{FIRST}: and {num_problems - 20} more problems"


def test_rows_out_of_order_are_named(run: Path) -> None:
    first, _, third = read_rows(run)
    rewrite(run, lambda rows: rows.insert(0, rows.pop()))
    assert file_problems(run) == [
        f"{FIRST}: row 0 is image {third['image_id']} ({third['uri']}), planned is"
        f" {first['image_id']} ({first['uri']})"
    ]


def test_another_uri_than_planned_is_named(run: Path) -> None:
    rewrite(run, lambda rows: rows[2].update(uri="elsewhere.jpg"))
    (problem,) = file_problems(run)
    assert problem.startswith(f"{FIRST}: row 2 is image ")
    assert "(elsewhere.jpg), planned is" in problem


def test_a_missing_row_is_named(run: Path) -> None:
    rewrite(run, lambda rows: rows.pop())
    assert file_problems(run) == [f"{FIRST}: holds 2 rows, 3 are planned"]


@pytest.mark.parametrize(
    ("name", "value"), [("plan_id", "0123"), ("shard", "1"), ("schema_version", "9")]
)
def test_a_file_of_something_else_is_named(run: Path, name: str, value: str) -> None:
    expected = pq.ParquetFile(run / FIRST).schema_arrow.metadata[name.encode()].decode()
    rewrite(run, metadata={name: value})
    assert file_problems(run) == [f"{FIRST}: says {name} {value}, expected {expected}"]


def test_a_file_that_says_nothing_of_itself_is_named(run: Path) -> None:
    table = pq.ParquetFile(run / FIRST).read()
    pq.write_table(table.replace_schema_metadata(None), run / FIRST)
    problems = file_problems(run)
    assert len(problems) == 3
    assert all(p.startswith(f"{FIRST}: says ") and " nothing, expected " in p for p in problems)


def test_other_columns_are_named(run: Path) -> None:
    table = pq.ParquetFile(run / FIRST).read()
    pq.write_table(table.drop_columns(["etag"]), run / FIRST)
    assert file_problems(run) == [f"{FIRST}: has other columns than rows of schema 3"]
    nullable = ROW_SCHEMA.field("uri").with_nullable(True)
    schema = ROW_SCHEMA.set(1, nullable).with_metadata(table.schema.metadata)
    pq.write_table(table.cast(schema), run / FIRST)
    assert file_problems(run) == [f"{FIRST}: has other columns than rows of schema 3"]


def test_a_damaged_file_is_named(run: Path) -> None:
    data = (run / FIRST).read_bytes()
    (run / FIRST).write_bytes(data[:-9])
    (problem,) = file_problems(run)
    assert problem.startswith(f"{FIRST}: cannot be read (")


def test_a_segment_that_is_null_is_named(run: Path) -> None:
    rewrite(run, lambda rows: rows[LABELLED]["segments_info"].append(None))
    (problem,) = file_problems(run)
    assert problem.startswith(f"{FIRST}: cannot be read (")


def test_a_missing_file_leaves_the_run_incomplete(run: Path) -> None:
    (run / SECOND).unlink()
    report = verify_run(str(run))
    assert not report.is_complete
    assert report.problems[0] == f"{SECOND}: is missing, so 2 images have no row there"
    assert f"{MANIFEST}: lists {SECOND}, which the run does not have" in report.problems
    assert report.num_files == 1


def test_a_missing_manifest_leaves_the_run_incomplete(run: Path) -> None:
    (run / MANIFEST).unlink()
    report = verify_run(str(run))
    assert not report.is_complete
    assert report.problems == [f"{MANIFEST}: is missing, so the run is not finished"]


def test_a_file_written_again_is_noticed_by_its_hash(run: Path) -> None:
    pq.write_table(pq.ParquetFile(run / FIRST).read(), run / FIRST, compression="none")
    (problem,) = problems_of(run)
    assert problem.startswith(f"{MANIFEST}: sha256 of {FIRST} is ")


@pytest.mark.parametrize(
    ("name", "value"), [("rows", 4), ("ok", 3), ("errors", {"empty": 1}), ("errors", {})]
)
def test_a_wrong_count_of_a_file_is_named(run: Path, name: str, value: object) -> None:
    found = {"rows": 3, "ok": 2, "errors": {"not_an_image": 1}}[name]
    rewrite_json(run / MANIFEST, lambda m: m["files"][0].update({name: value}))
    assert problems_of(run) == [f"{MANIFEST}: {name} of {FIRST} is {value}, the file has {found}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", 6),
        ("ok", 5),
        ("errors", {"not_an_image": 2}),
        ("segments", 28),
        ("things", 0),
        ("stuff", 7),
        ("mean_score", 0.5),
        ("mean_score", None),
        ("grades", {"A": 4}),
    ],
)
def test_a_wrong_total_is_named(run: Path, name: str, value: object) -> None:
    rewrite_json(run / MANIFEST, lambda m: m["totals"].update({name: value}))
    (problem,) = problems_of(run)
    assert problem.startswith(f"{MANIFEST}: totals.{name} is {value}, the files have ")


@pytest.mark.parametrize("name", ["plan_id", "schema_version", "root_hash"])
def test_a_wrong_head_of_the_manifest_is_named(run: Path, name: str) -> None:
    expected = json.loads((run / MANIFEST).read_text())[name]
    rewrite_json(run / MANIFEST, lambda m: m.update({name: "0123"}))
    assert problems_of(run) == [f"{MANIFEST}: {name} is 0123, expected {expected}"]


def test_the_root_hash_is_that_of_sha256sum(run: Path) -> None:
    """A root hash over the files in another order, computed here, is wrong."""
    lines = [
        f"{hashlib.sha256((run / k).read_bytes()).hexdigest()}  {k}\n" for k in (FIRST, SECOND)
    ]
    right, wrong = (hashlib.sha256("".join(t).encode()).hexdigest() for t in (lines, lines[::-1]))
    rewrite_json(run / MANIFEST, lambda m: m.update(root_hash=right))
    assert problems_of(run) == []
    rewrite_json(run / MANIFEST, lambda m: m.update(root_hash=wrong))
    assert problems_of(run) == [f"{MANIFEST}: root_hash is {wrong}, expected {right}"]


def test_a_manifest_lists_each_file_once_and_no_other(run: Path) -> None:
    rewrite_json(run / MANIFEST, lambda m: m["files"].append(m["files"][0]))
    assert problems_of(run) == [f"{MANIFEST}: lists a file twice"]
    rewrite_json(run / MANIFEST, lambda m: m["files"].pop(0) and m["files"].pop())
    root_hash, unlisted = problems_of(run)
    assert "root_hash" in root_hash
    assert unlisted == f"{MANIFEST}: does not list {FIRST}"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"files": [1]}'])
def test_a_damaged_manifest_is_named(run: Path, content: str) -> None:
    (run / MANIFEST).write_text(content)
    (problem,) = problems_of(run)
    assert problem.startswith(f"{MANIFEST}: is no manifest (")


def test_a_part_of_the_plan_that_changed_is_named(run: Path) -> None:
    rewrite_part(run, lambda table: table, compression="none")
    assert problems_of(run) == [f"{PART_KEY}: has another sha256 than _plan/plan.json says"]


def test_a_part_of_the_plan_that_is_gone_leaves_the_run_incomplete(run: Path) -> None:
    (run / PART_KEY).unlink()
    report = verify_run(str(run))
    assert report.problems[0] == f"{PART_KEY}: is missing, so its 5 images cannot be checked"
    assert not report.is_complete


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.drop_columns(["offset"]), "has other columns than a list of planned images"),
        (lambda t: shifted(t, "shard"), r"image \w+ has shard 1, expected 0"),
        (lambda t: shifted(t, "position"), r"image \w+ has position 1, expected 0"),
    ],
)
def test_a_part_of_the_plan_that_is_no_list_of_shards_is_named(
    run: Path, change: Callable, expected: str
) -> None:
    rewrite_part(run, change, sign=True)
    assert re.match(f"{PART_KEY}: {expected}", problems_of(run)[0])


def shifted(table: pa.Table, name: str) -> pa.Table:
    column = table.schema.get_field_index(name)
    return table.set_column(
        column, table.schema.field(name), pc.add(table[name], pa.scalar(1, "int32"))
    )


def test_a_damaged_part_of_the_plan_is_named(run: Path) -> None:
    (run / PART_KEY).write_bytes(b"PAR1")
    problems = problems_of(run)
    assert problems[0] == f"{PART_KEY}: has another sha256 than _plan/plan.json says"
    assert problems[1].startswith(f"{PART_KEY}: cannot be read (")


def test_an_image_that_is_planned_twice_is_named(run: Path) -> None:
    def repeat(table: pa.Table) -> pa.Table:
        ids = table["image_id"].to_pylist()
        return table.set_column(0, table.schema.field(0), pa.array([*ids[:4], ids[0]]))

    image_id = read_rows(run)[0]["image_id"]
    rewrite_part(run, repeat, sign=True)
    rewrite(run, lambda rows: rows[1].update(image_id=image_id), shard=1)
    assert file_problems(run) == [f"{plan_key(0)}: image {image_id} is planned 2 times"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_images": 6}, ["_plan/plan.json: plans 6 images, its parts list 5"]),
        (
            {"num_shards": 3},
            ["_plan/plan.json: plans 3 shards, but 5 images at 3 a shard are 2"],
        ),
        ({"schema_version": "9"}, ["_plan/plan.json: schema_version is 9, expected 2 or 3"]),
    ],
)
def test_a_plan_that_contradicts_itself_is_named(
    run: Path, changes: dict[str, object], expected: list[str]
) -> None:
    rewrite_json(run / plan_key(0), lambda head: head.update(changes))
    assert file_problems(run) == expected


def test_a_plan_that_lists_other_numbers_of_rows_is_named(run: Path) -> None:
    def claim(head: dict[str, Any]) -> None:
        head["num_images"] = head["parts"][0]["rows"] = 4

    rewrite_json(run / plan_key(0), claim)
    assert file_problems(run) == [f"{PART_KEY}: holds 5 images, {plan_key(0)} says 4"]


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_plan_that_cannot_be_understood_is_refused(run: Path, content: str) -> None:
    (run / plan_key(0)).write_text(content)
    with pytest.raises(ConfigError, match=r"expected a plan in .*plan\.json"):
        verify_run(str(run))


def test_a_shard_size_of_zero_is_refused(run: Path) -> None:
    rewrite_json(run / plan_key(0), lambda head: head.update(shard_size=0))
    with pytest.raises(ConfigError, match="shard_size 0"):
        verify_run(str(run))


def test_a_place_without_a_run_is_refused(tmp_path: Path, s3_server: str) -> None:
    with pytest.raises(ConfigError, match="found none"):
        verify_run(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="found no plan"):
        verify_run(str(tmp_path))
    with pytest.raises(ConfigError, match="s3://no-such-bucket/run"):
        verify_run("s3://no-such-bucket/run")


@pytest.mark.parametrize(
    "key",
    [
        "notes.txt",
        "data/notes.txt",
        "data/g=0000/shard-00000002.parquet",  # the plan has two shards
        "data/g=0001/shard-00000000.parquet",
        "data/g=0000/shard-0.parquet",
        "data-retry-001/g=0000/shard-00000000.parquet",  # no retry is planned
        "_plan/part-00001.parquet",
        "_plan/retry-002.json",
        "_attempts/notes.txt",
        "_runs/probe-1",
        "stats.json",
    ],
)
def test_a_foreign_object_is_named(run: Path, key: str) -> None:
    (run / key).parent.mkdir(parents=True, exist_ok=True)
    (run / key).write_bytes(b"")
    assert problems_of(run) == [f"{key}: is no part of this run"]


@pytest.mark.parametrize(
    "key",
    [
        "_plan/duplicates-00000.parquet",
        "_attempts/shard-00000001/2",
        "_attempts/retry-001/shard-00000000/1",
        "_runs/0123.json",
        f"_runs/probe-{'0' * 32}",
        "stats/classes.json",
        "report/preview.html",
        "export/coco/annotations.json",
        "table/0123/part-00000.parquet",
    ],
)
def test_what_a_run_may_hold_beside_its_rows_is_no_problem(run: Path, key: str) -> None:
    (run / key).parent.mkdir(parents=True, exist_ok=True)
    (run / key).write_bytes(b"")
    assert problems_of(run) == []


def relabelled(run: Path) -> Rows:
    """The row of the failed image as a retry might label it: like its neighbour."""
    rows = read_rows(run)
    identity = {name: rows[FAILED][name] for name in ("image_id", "uri", "etag")}
    return [rows[LABELLED] | identity]


def test_a_finished_retry_has_no_problems_and_its_images_count_once(run: Path) -> None:
    add_retry(run, relabelled(run))
    finalise(RunFolder(str(run)))
    report = verify_run(str(run))
    assert report.problems == []
    assert report.is_complete
    assert (report.num_images, report.num_files, report.num_rounds) == (5, 3, 2)


def test_an_image_that_fails_again_and_again_counts_as_one_error(run: Path) -> None:
    failed = [read_rows(run)[FAILED]]
    add_retry(run, failed)
    add_retry(run, failed, number=2)
    finalise(RunFolder(str(run)))
    assert problems_of(run) == []
    rewrite_json(run / MANIFEST, lambda m: m["totals"]["errors"].update(not_an_image=3))
    (problem,) = problems_of(run)
    assert problem.startswith(f"{MANIFEST}: totals.errors is ")


@pytest.mark.parametrize("row", [LABELLED, FAILED])
def test_a_retry_of_an_image_that_had_not_failed_is_named(run: Path, row: int) -> None:
    add_retry(run, relabelled(run))
    again = add_retry(run, [read_rows(run)[row]], number=2).relative_to(run)
    image_id = read_rows(run)[row]["image_id"]
    assert file_problems(run) == [
        f"{again}: image {image_id}: is retried, but had not failed before"
    ]


def test_a_retry_is_held_against_its_own_list(run: Path) -> None:
    path = add_retry(run, relabelled(run), plan_id="0123")
    labelled = relabelled(run)[0]["image_id"]
    own = pq.ParquetFile(path).schema_arrow.metadata[b"plan_id"].decode()
    assert file_problems(run) == [
        f"{plan_key(1)}: plan_id is 0123, expected {own}",
        f"{path.relative_to(run)}: says plan_id {own}, expected 0123",
    ]
    path.unlink()
    report = verify_run(str(run))
    assert f"{path.relative_to(run)}: is missing, so 1 images have no row there" in report.problems
    assert not report.is_complete
    assert (
        labelled
        in pq.read_table(run / plan_part_key(0, draft_folder(1, ["not_an_image"])))[
            "image_id"
        ].to_pylist()
    )


def test_a_missing_file_makes_no_problems_of_its_retried_images(run: Path) -> None:
    add_retry(run, relabelled(run))
    (run / FIRST).unlink()
    assert file_problems(run) == [f"{FIRST}: is missing, so 3 images have no row there"]


@pytest.fixture
def bucket(run: Path, tmp_path: Path, s3_server: str) -> str:
    """Address of the run, copied into a bucket."""
    filesystem = fsspec.filesystem("s3")
    filesystem.makedirs("verify", exist_ok=True)
    location = f"s3://verify/{tmp_path.name}/run"
    filesystem.put(f"{run}/", f"{location}/", recursive=True)
    return location


def test_an_unfinished_upload_into_the_run_is_named(bucket: str) -> None:
    assert problems_of(bucket) == []
    prefix = bucket.removeprefix("s3://verify/")
    filesystem = fsspec.filesystem("s3")
    for key in (f"{prefix}/{FIRST}", f"{prefix}-other/{FIRST}"):
        upload = filesystem.call_s3("create_multipart_upload", Bucket="verify", Key=key)
        assert upload["UploadId"]
    (problem,) = problems_of(bucket)
    assert problem.startswith(f"{FIRST}: has an unfinished upload (")


class TwoPages:
    """An S3 client whose listings come one upload a page."""

    def call_s3(self, method: str, **arguments: str) -> dict[str, Any]:
        assert method == "list_multipart_uploads"
        if "KeyMarker" not in arguments:
            first = {"Key": "run/a", "UploadId": "1"}
            more = {"IsTruncated": True, "NextKeyMarker": "run/a", "NextUploadIdMarker": "1"}
            return {"Uploads": [first], **more}
        assert (arguments["KeyMarker"], arguments["UploadIdMarker"]) == ("run/a", "1")
        return {"Uploads": [{"Key": "run/b", "UploadId": "2"}], "IsTruncated": False}


def test_unfinished_uploads_are_listed_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsspec.filesystem", lambda protocol: TwoPages())
    assert list(folder.open_uploads("s3://verify/run")) == [
        "a: has an unfinished upload (1); abort it",
        "b: has an unfinished upload (2); abort it",
    ]


def test_a_bucket_that_does_not_list_its_uploads_is_named(s3_server: str) -> None:
    (problem,) = folder.open_uploads("s3://no-such-bucket/run")
    assert problem.startswith("s3://no-such-bucket/run: its unfinished uploads cannot be listed (")


def correct(run: Path, tmp_path: Path) -> Path:
    """Give the first image to one class; the path of the file of corrections."""
    row = read_rows(run)[LABELLED]
    whole = np.ones((row["height"], row["width"]), np.int32)
    file = write_coco(tmp_path / "done.json", {row["uri"]: (whole, {1: "sky"})})
    return run / correct_run(str(run), file, author="Ada").key


def rewrite_corrections(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    table = pq.ParquetFile(path).read()
    (row,) = table.to_pylist()
    change(row)
    pq.write_table(pa.Table.from_pylist([row], table.schema), path)


def test_a_run_with_classes_and_corrections_has_no_problems(run: Path, tmp_path: Path) -> None:
    assert (run / VOCABULARY_KEY).exists()
    correct(run, tmp_path)
    assert problems_of(run) == []
    (run / VOCABULARY_KEY).unlink()  # as in a run that did not record them
    assert problems_of(run) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda row: row["segments_info"][0].update(area=1),
            "image {id}: segment 1 has area 1, its mask has {area}",
        ),
        (lambda row: row.update(author=None), "image {id}: does not say its author"),
        (
            lambda row: row.update(status="error"),
            "image {id}: is corrected, but has no size, labels or quality",
        ),
    ],
)
def test_corrections_that_break_the_contract_of_a_row_are_named(
    run: Path, tmp_path: Path, change: Callable, expected: str
) -> None:
    row = read_rows(run)[LABELLED]
    path = correct(run, tmp_path)
    rewrite_corrections(path, change)
    problem = expected.format(id=row["image_id"], area=row["width"] * row["height"])
    assert problems_of(run) == [f"{path.relative_to(run)}: {problem}"]


def test_corrections_of_images_that_are_not_planned_are_named(run: Path, tmp_path: Path) -> None:
    path = correct(run, tmp_path)
    rewrite_corrections(path, lambda row: row.update(image_id="12"))
    assert problems_of(run) == ["corrections/: image 12 is corrected, but not planned"]


def test_what_is_no_file_of_corrections_is_named(run: Path, tmp_path: Path) -> None:
    path = correct(run, tmp_path)
    table = pq.ParquetFile(path).read()
    pq.write_table(table.drop_columns(["source"]), path)
    key = path.relative_to(run)
    assert problems_of(run) == [f"{key}: has other columns than corrections of schema 3"]
    path.write_bytes(b"no Parquet")
    (problem,) = problems_of(run)
    assert problem.startswith(f"{key}: cannot be read (")
    path.rename(run / "corrections/mine.parquet")
    assert "corrections/mine.parquet: is no part of this run" in problems_of(run)


def test_classes_that_contradict_the_plan_are_named(run: Path) -> None:
    path = run / VOCABULARY_KEY
    planned = json.loads(path.read_text())["sha256"]
    rewrite_json(path, lambda content: content["categories"][0].update(name="unicorn"))
    first, second = problems_of(run)
    assert re.fullmatch(
        rf"{VOCABULARY_KEY}: says sha256 {planned}, its classes have [0-9a-f]{{64}}", first
    )
    assert re.fullmatch(
        rf"{VOCABULARY_KEY}: its classes have sha256 [0-9a-f]{{64}}, the plan says {planned}",
        second,
    )
    path.write_text("{}")
    assert problems_of(run) == [f"{VOCABULARY_KEY}: cannot be understood (KeyError: 'categories')"]


def test_an_image_in_which_nothing_was_found_is_sound() -> None:
    nothing = ClaimedLabels(
        image_hw=(2, 2),
        ids=[],
        category_ids=[],
        is_thing=[],
        areas_px=[],
        boxes_xywh=np.empty((0, 4)),
        sizes_hw=np.empty((0, 2)),
        counts=[],
        coverage=0.0,
        num_things=0,
        num_stuff=0,
    )
    assert list(label_problems(nothing)) == []
