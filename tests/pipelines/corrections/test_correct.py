"""Tests of pipelines.corrections.correct: files in, corrected rows out."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy import ndarray
from typer.testing import CliRunner

from pipelines import open_run
from pipelines.cli.corrections import corrections_app
from pipelines.corrections import correct_run
from pipelines.run.committed import open_committed, read_committed, read_machine_rows
from pipelines.run.compact import compact_run
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder, shard_key
from pipelines.verify import verify_run
from possam_core.errors import ConfigError, PossamError
from tests.pipelines.damaging import read_rows, rewrite, rewrite_json
from tests.pipelines.formats.annotators import brush, region, task, write_coco

BROKEN_SCENE = 1  # of five in shards of three and two
FIRST, LAST = "scene-00000.jpg", "scene-00004.jpg"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs the run puts it for the others."""
    return tmp_path_factory.mktemp("original") / "run"


@pytest.fixture
def run(original: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A finished run of four labelled images and one that is none, free to be corrected."""
    if not original.exists():
        make_run: Callable = request.getfixturevalue("make_run")
        made = make_run(5, damage={BROKEN_SCENE: b"no image"}).run
        for shard in (0, 1):
            rewrite(made, shard=shard, metadata={"shard": str(shard)})
        finalise(RunFolder(str(made)))
        shutil.copytree(made, original)
    return Path(shutil.copytree(original, tmp_path / "copy"))


def halves(run: Path, name: str) -> ndarray:
    """A label map of an image: 1 in the upper half, 2 below on the left, else void."""
    (row,) = [r for s in (0, 1) for r in read_rows(run, s) if r["uri"].endswith(name)]
    ids = np.zeros((row["height"], row["width"]), np.int32)
    ids[: row["height"] // 2] = 1
    ids[row["height"] // 2 :, : row["width"] // 3] = 2
    return ids


def coco(run: Path, path: Path, name: str = FIRST, upper: str = "sky") -> Path:
    return write_coco(path, {name: (halves(run, name), {1: upper, 2: "apple"})})


def images_of(run: Path) -> dict:
    return {Path(image.uri).name: image for image in open_run(str(run))}


def test_a_corrected_image_is_in_the_next_read_with_who_and_when(run: Path, tmp_path: Path) -> None:
    before = images_of(run)
    opened = open_run(str(run))
    report = correct_run(str(run), coco(run, tmp_path / "done.json"), author=" Ada ")
    assert (report.num_images, report.num_again) == (1, 0)
    assert report.key.startswith("corrections/00001-")
    after = images_of(run)
    assert list(after) == list(before)
    image = after[FIRST]
    np.testing.assert_array_equal(image.segmentation.ids, halves(run, FIRST))
    assert [s.category_name for s in image.segmentation.segments] == ["sky", "apple"]
    assert [s.is_thing for s in image.segmentation.segments] == [False, True]
    assert image.row["quality"]["reasons"] == ["corrected"]
    assert image.correction is not None
    assert (image.correction.author, image.correction.source) == ("Ada", "done.json")
    assert abs(image.correction.corrected_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert after[LAST].correction is None
    assert after[LAST].row == before[LAST].row
    # A run stays as it was when it was opened.
    assert next(iter(opened)).row == before[FIRST].row


def test_every_reader_sees_corrections_but_machine_rows_can_be_read_alone(
    run: Path, tmp_path: Path
) -> None:
    (before,) = [c.rows.to_pylist() for c in read_machine_rows(open_committed(str(run)))][:1]
    plain = compact_run(str(run)).folder
    correct_run(str(run), coco(run, tmp_path / "done.json"), author="Ada")
    first, *_ = read_committed(open_committed(str(run)))
    assert first.rows["quality"].to_pylist()[0]["reasons"] == ["corrected"]
    assert first.rows.to_pylist()[1:] == before[1:]
    machine, *_ = read_machine_rows(open_committed(str(run)))
    assert machine.rows.to_pylist() == before
    table = compact_run(str(run))
    assert table.folder != plain
    assert table.other_folders == (plain,)
    rows = pq.ParquetFile(run / table.files[0].key).read().to_pylist()
    assert rows[:3] == first.rows.to_pylist()
    kept = open_run(str(run), where="'corrected' = ANY(reasons)")
    assert [len(rows) for rows in kept.tables()] == [1, 0]
    assert list(kept.corrections) == [before[0]["image_id"]]


def test_a_newer_correction_wins_and_leaves_the_others(run: Path, tmp_path: Path) -> None:
    both = {name: (halves(run, name), {1: "sky", 2: "apple"}) for name in (FIRST, LAST)}
    correct_run(str(run), write_coco(tmp_path / "one.json", both), author="Ada")
    second = coco(run, tmp_path / "two.json", upper="sea")
    report = correct_run(str(run), second, author="Bob")
    assert (report.num_images, report.num_again) == (1, 1)
    assert report.key.startswith("corrections/00002-")
    after = images_of(run)
    assert {name: i.correction.author for name, i in after.items() if i.correction} == {
        FIRST: "Bob",
        LAST: "Ada",
    }
    assert after[FIRST].segmentation.segments[0].category_name == "sea"
    assert after[LAST].segmentation.segments[0].category_name == "sky"
    assert verify_run(str(run)).problems == []


def test_label_studio_and_coco_give_the_same_rows(run: Path, tmp_path: Path) -> None:
    ids = halves(run, FIRST)
    height = 100 * (ids.shape[0] // 2) / ids.shape[0]
    upper = region("rectangle", {"x": 0, "y": 0, "width": 100, "height": height}, "sky", ids.shape)
    export = tmp_path / "export.json"
    address = f"/data/upload/1/01234567-{FIRST}"
    export.write_text(json.dumps([task(address, [upper, brush(ids == 2, "apple")])]))
    correct_run(str(run), export, author="Ada", format="label-studio")
    by_brush = images_of(run)[FIRST]
    np.testing.assert_array_equal(by_brush.segmentation.ids, ids)
    correct_run(str(run), coco(run, tmp_path / "done.json"), author="Ada", format="coco-panoptic")
    assert images_of(run)[FIRST].row == by_brush.row


def test_the_models_own_labels_as_corrections_change_nothing(run: Path, tmp_path: Path) -> None:
    images = images_of(run)
    maps = {
        name: (i.segmentation.ids, {s.id: s.category_name for s in i.segmentation.segments})
        for name, i in images.items()
    }
    report = correct_run(str(run), write_coco(tmp_path / "all.json", maps), author="Ada")
    assert (report.num_images, report.num_same) == (4, 4)
    for name, image in images_of(run).items():
        before = images[name].segmentation
        np.testing.assert_array_equal(image.segmentation.ids, before.ids)
        assert [s.category_name for s in image.segmentation.segments] == [
            s.category_name for s in before.segments
        ]
    assert verify_run(str(run)).problems == []


def test_an_image_id_in_the_file_says_more_than_a_file_name(run: Path, tmp_path: Path) -> None:
    file = coco(run, tmp_path / "done.json")
    image_id = read_rows(run)[0]["image_id"]
    rewrite_json(
        file, lambda content: content["images"][0].update(file_name="x.jpg", image_id=image_id)
    )
    correct_run(str(run), file, author="Ada")
    assert list(open_run(str(run)).corrections) == [image_id]


def change_size(run: Path, path: Path) -> Path:
    ids = halves(run, FIRST)[:, :-1]
    return write_coco(path, {FIRST: (ids, {1: "sky", 2: "apple"})})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda run, path: coco(run, path, upper="skyy"),
            "scene-00000.jpg: .*no class 'skyy'; did",
        ),
        (change_size, r"scene-00000.jpg: expected an annotation of \d+ x \d+ pixels, got"),
        (lambda run, path: write_coco(path, {}), "expected annotated images in .*, got none"),
        (
            lambda run, path: write_coco(path, {"scene-00009.jpg": (halves(run, FIRST), {})}),
            "scene-00009.jpg: the run has no such image",
        ),
        (
            lambda run, path: write_coco(
                path, {"scene-00001.jpg": (np.ones((9, 9), np.int32), {1: "sky"})}
            ),
            "scene-00001.jpg: it failed with not_an_image, .*; label it with possam retry first",
        ),
        (lambda run, path: path.write_text("{}") and path, "COCO panoptic categories"),
        (lambda run, path: path, "could not be read"),
    ],
)
def test_a_bad_file_is_refused_and_the_run_left_alone(
    run: Path, tmp_path: Path, make: Callable, sentence: str
) -> None:
    with pytest.raises(PossamError, match=sentence):
        correct_run(str(run), make(run, tmp_path / "bad.json"), author="Ada")
    assert not (run / "corrections").exists()


def test_one_bad_image_keeps_the_good_ones_out(run: Path, tmp_path: Path) -> None:
    images = {name: (halves(run, name), {1: "sky", 2: "apple"}) for name in (FIRST, LAST)}
    images[LAST] = (halves(run, LAST), {1: "sky", 2: "unicorn"})
    with pytest.raises(ConfigError, match=f"{LAST}: the run has no class 'unicorn'"):
        correct_run(str(run), write_coco(tmp_path / "bad.json", images), author="Ada")
    assert not (run / "corrections").exists()


def test_an_image_whose_shard_is_open_cannot_be_corrected(run: Path, tmp_path: Path) -> None:
    file = coco(run, tmp_path / "done.json", LAST)
    (run / shard_key(1)).unlink()
    with pytest.raises(ConfigError, match=f"{LAST}: it has no labels yet; finish the run"):
        correct_run(str(run), file, author="Ada")


@pytest.mark.parametrize(
    ("author", "format", "sentence"),
    [(" ", None, "name of the author"), ("Ada", "coco", "among coco-panoptic, label-studio, got")],
)
def test_nameless_authors_and_unknown_formats_are_refused(
    run: Path, tmp_path: Path, author: str, format: str | None, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        correct_run(str(run), coco(run, tmp_path / "done.json"), author=author, format=format)


def test_the_command_says_what_it_has_done(run: Path, tmp_path: Path) -> None:
    arguments = [str(run), str(coco(run, tmp_path / "done.json")), "--author", "Ada"]
    done = CliRunner().invoke(corrections_app, arguments)
    assert done.exit_code == 0
    assert done.output.strip().startswith(f"corrected 1 image; wrote {run}/corrections/00001-")
    again = CliRunner().invoke(corrections_app, arguments)
    assert "corrected 1 image, 1 of them once more; wrote" in again.output
    assert "have the same segments" not in done.stderr
    assert "possam: 1 of 1 have the same segments as before" in again.stderr


def test_a_run_in_a_bucket_can_be_corrected(run: Path, tmp_path: Path, s3_server: str) -> None:
    filesystem = fsspec.filesystem("s3")
    filesystem.makedirs("corrections", exist_ok=True)
    location = f"s3://corrections/{tmp_path.name}"
    filesystem.put(f"{run}/", f"{location}/", recursive=True)
    correct_run(location, coco(run, tmp_path / "done.json"), author="Ada")
    image = next(iter(open_run(location)))
    assert image.correction is not None
    assert verify_run(location).problems == []
