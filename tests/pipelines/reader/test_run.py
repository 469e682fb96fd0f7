"""Tests of pipelines.reader.run and pipelines.reader.image."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines import open_run
from pipelines.reader import Category
from pipelines.run.folder import VOCABULARY_KEY, plan_key, shard_key
from pipelines.schema import ROW_SCHEMA
from possam_core.errors import ConfigError
from possam_core.images.decode import ImageError, ImageErrorCode, decode_image
from possam_core.playground import PLAYGROUND, generate_scene
from tests.pipelines.conftest import SEED
from tests.pipelines.damaging import add_retry, read_rows, rewrite, rewrite_json
from tests.pipelines.reader.conftest import BROKEN_SCENE

LABELLED = [0, 2, 3, 4, 5, 6, 7]  # scenes, in plan order


def scene_of(uri: str) -> int:
    return int(Path(uri).stem.removeprefix("scene-"))


def all_rows(run: Path) -> list[dict]:
    return [row for shard in range(3) for row in read_rows(run, shard)]


def test_labels_are_read_with_identical_pixels_and_classes(run: Path) -> None:
    classes = PLAYGROUND.vocabulary.classes
    images = list(open_run(str(run)))
    assert [scene_of(image.uri) for image in images] == LABELLED
    for image in images:
        scene = generate_scene(SEED, scene_of(image.uri))
        found = image.segmentation
        np.testing.assert_array_equal(found.ids, scene.ids)
        assert [s.class_index for s in found.segments] == list(scene.class_indices)
        assert [s.category_name for s in found.segments] == [
            classes[i].name for i in scene.class_indices
        ]
        assert [s.is_thing for s in found.segments] == [
            classes[i].is_thing for i in scene.class_indices
        ]


def test_a_segment_has_every_figure_of_its_row(run: Path) -> None:
    image = next(iter(open_run(str(run))))
    record, segment = image.row["segments_info"][0], image.segmentation.segments[0]
    assert (segment.area_px, segment.bbox_xywh) == (record["area"], tuple(record["bbox"]))
    assert segment.score == pytest.approx(0.9)
    assert (segment.predicted_iou, segment.margin) == pytest.approx((0.9, 0.5))
    assert (segment.stability_score, segment.entropy) == pytest.approx((0.9, 0.1))
    assert segment.clip_agrees
    assert segment.is_seen


def test_pixels_are_those_that_were_labelled(run: Path) -> None:
    image = next(iter(open_run(str(run))))
    expected = decode_image(Path(image.uri).read_bytes()).pixels
    np.testing.assert_array_equal(image.pixels(), expected)
    assert image.pixels().shape[:2] == image.segmentation.image_hw


def test_an_image_that_has_changed_since_has_no_pixels(make_run) -> None:
    made = make_run(1)
    (image,) = open_run(str(made.run))
    path = Path(image.uri)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ImageError) as caught:
        image.pixels()
    assert caught.value.code == ImageErrorCode.INPUT_CHANGED


def test_a_shard_has_its_failed_images_too_and_says_where_its_labels_come_from(run: Path) -> None:
    opened = open_run(str(run))
    assert opened.shards() == [0, 1, 2]
    rows = opened.read_shard(0)
    assert rows.schema.equals(ROW_SCHEMA)
    assert rows.to_pylist() == read_rows(run)
    assert rows["status"].to_pylist() == ["ok", "error", "ok"]
    plan = json.loads((run / plan_key(0)).read_text())
    assert opened.provenance == {
        "plan_id": plan["plan_id"],
        "model": "the <truth>",
        "model_sha256": "12",
        "vocabulary": "playground",
        "vocabulary_sha256": PLAYGROUND.vocabulary.fingerprint,
        "schema_version": "3",
    }
    assert {k.decode(): v.decode() for k, v in rows.schema.metadata.items()} == opened.provenance


def test_the_newest_row_of_a_retried_image_counts(copy: Path) -> None:
    rows = read_rows(copy)
    identity = {name: rows[BROKEN_SCENE][name] for name in ("image_id", "uri", "etag")}
    for number, height in ((1, 7), (2, 9)):
        add_retry(copy, [rows[0] | identity | {"height": height}], number)
    opened = open_run(str(copy))
    assert opened.read_shard(0).to_pylist() == [
        rows[0],
        rows[0] | identity | {"height": 9},
        rows[2],
    ]
    assert opened.count_labelled() == [3, 3, 2]


def test_only_what_is_committed_is_read(copy: Path) -> None:
    (copy / shard_key(1)).unlink()
    (copy / "_manifest.json").unlink()
    opened = open_run(str(copy))
    assert opened.shards() == [0, 2]
    assert [scene_of(image.uri) for image in opened] == [0, 2, 6, 7]
    assert opened.count_labelled() == [2, 2]


def test_a_run_travels_to_other_processes_without_its_rows(run: Path) -> None:
    opened = open_run(str(run), where="mean_score > 0.65")
    before = [rows.to_pylist() for rows in opened.tables()]
    assert [len(rows) for rows in before] == [2, 1, 2]
    packed = pickle.dumps(opened)
    assert len(packed) < 1000
    assert [rows.to_pylist() for rows in pickle.loads(packed).tables()] == before


def test_an_image_travels_with_the_way_to_its_pixels(run: Path) -> None:
    image = next(iter(open_run(str(run))))
    image.pixels()
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(again.pixels(), image.pixels())


def test_classes_are_those_that_were_planned(run: Path) -> None:
    found = open_run(str(run)).categories
    planned = PLAYGROUND.vocabulary.classes
    assert len(found) == len(planned)
    first = planned[0]
    assert found[0] == Category(
        id=first.category_id, name=first.name, is_thing=first.is_thing, is_seen=True
    )


def test_a_run_without_a_list_of_its_classes_has_those_that_occur(copy: Path) -> None:
    (copy / VOCABULARY_KEY).unlink()
    opened = open_run(str(copy), where="num_segments < 0")  # independent of the filter
    segments = [s for row in all_rows(copy) for s in row["segments_info"]]
    expected = {s["category_id"]: s["category_name"] for s in segments}
    assert {c.id: c.name for c in opened.categories} == expected
    assert [c.id for c in opened.categories] == sorted(expected)
    assert all(c.is_seen for c in opened.categories)
    (image, *_) = open_run(str(copy))
    names = [opened.categories[s.class_index].name for s in image.segmentation.segments]
    assert names == [s.category_name for s in image.segmentation.segments]


def test_a_list_of_classes_that_cannot_be_understood_is_named(copy: Path) -> None:
    rewrite_json(copy / VOCABULARY_KEY, lambda content: content["categories"][0].pop("isthing"))
    with pytest.raises(ConfigError, match=r"vocabulary.json, but they lack something \(KeyError"):
        _ = open_run(str(copy)).categories


def test_a_class_that_is_not_in_the_run_is_named(copy: Path) -> None:
    def rename(rows: list[dict]) -> None:
        rows[0]["segments_info"][0].update(category_id=999, category_name="unicorn")

    rewrite(copy, rename)
    image = next(iter(open_run(str(copy))))
    with pytest.raises(ConfigError, match="has 'unicorn' as category 999"):
        _ = image.segmentation


def test_the_kept_rows_stream_as_arrow(run: Path) -> None:
    opened = open_run(str(run))
    assert opened.to_arrow().read_all().to_pylist() == all_rows(run)
    stream = open_run(str(run), where="status = 'ok'").to_arrow(["uri", "width"])
    assert stream.schema.names == ["uri", "width"]
    expected = [{k: r[k] for k in ("uri", "width")} for r in all_rows(run) if r["width"]]
    assert stream.read_all().to_pylist() == expected
    with pytest.raises(ConfigError, match=r"expected columns among image_id, .*, got colour"):
        opened.to_arrow(["uri", "colour"])


def test_the_kept_rows_are_a_relation_that_can_be_asked_more_than_once(run: Path) -> None:
    relation = open_run(str(run), where="status = 'ok'").to_duckdb()
    labelled = [row for row in all_rows(run) if row["status"] == "ok"]
    for _ in range(2):
        assert relation.aggregate("count(*)").fetchall() == [(7,)]
    best = relation.order("mean_score DESC, uri").project("uri, num_segments").limit(1)
    assert best.fetchall() == [(labelled[0]["uri"], len(labelled[0]["segments_info"]))]


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_place_without_labels_is_one_sentence(copy: Path, tmp_path: Path, is_empty: bool) -> None:
    if is_empty:
        location = tmp_path / "empty"
        location.mkdir()
    else:
        location = copy
        for shard in range(3):
            (copy / shard_key(shard)).unlink()
    with pytest.raises(ConfigError, match="found none; make one with possam label"):
        open_run(str(location))


def test_a_run_of_another_schema_is_one_sentence(copy: Path) -> None:
    rewrite_json(copy / plan_key(0), lambda head: head.update(schema_version="1"))
    with pytest.raises(ConfigError, match=r"expected a plan of schema 2 .*, got 1; "):
        open_run(str(copy))


def test_a_file_of_another_schema_or_none_is_one_sentence(copy: Path) -> None:
    rewrite(copy, metadata={"schema_version": "1"})
    with pytest.raises(
        ConfigError, match=r"rows of schema 2 or 3 in .*shard-00000000.*, got schema 1"
    ):
        open_run(str(copy)).read_shard(0)
    (copy / shard_key(1)).write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"expected Parquet in .*shard-00000001"):
        open_run(str(copy)).read_shard(1)
    opened = open_run(str(copy))
    (copy / shard_key(2)).unlink()
    with pytest.raises(ConfigError, match="but it was removed while it was read"):
        opened.read_shard(2)


def test_asking_for_help_loads_no_reader() -> None:
    program = (
        "import sys, pipelines, pipelines.cli; print(sorted({'pyarrow', 'duckdb', 'torch', 'ray'}"
        " & set(sys.modules))); from pipelines import open_run; print(open_run.__module__,"
        " 'duckdb' in sys.modules, 'torch' in sys.modules, 'ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "pipelines.reader.run False False False"]


def test_the_package_has_no_other_public_names() -> None:
    import pipelines

    with pytest.raises(AttributeError, match="has no attribute 'open_runs'"):
        _ = pipelines.open_runs  # type: ignore[attr-defined]


def test_an_empty_shard_after_a_filter_is_an_empty_table(run: Path) -> None:
    rows = open_run(str(run), where="false").read_shard(0)
    assert (rows.num_rows, rows.schema) == (0, ROW_SCHEMA)
    assert isinstance(rows, pa.Table)
