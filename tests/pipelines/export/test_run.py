import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image

from pipelines.export import ExportConfig, ExportFormat, run_export
from pipelines.export.parts import LeftOut
from possam_core.errors import ConfigError
from possam_core.images.decode import decode_image
from possam_core.playground import generate_scene
from tests.factories import encode
from tests.pipelines.conftest import SEED, SmallRun
from tests.pipelines.damaging import add_retry, read_rows
from tests.pipelines.export.conftest import NUM_SCENES, SHARD_SIZE
from tests.pipelines.export.true_runs import TrueRun

BROKEN = 1  # the scene that is no image

# The command, which dies between writing a shard's outputs and their commit.
KILLED_IN_THE_THIRD_SHARD = """
import os, signal
from pipelines.cli import main
from pipelines.export.folder import ExportFolder

commit = ExportFolder.commit

def commit_or_die(folder, key, data):
    if "part-00000002" in key:
        folder.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return commit(folder, key, data)

ExportFolder.commit = commit_or_die
main()
"""


@pytest.fixture
def own(make_run: Callable) -> SmallRun:
    """Seven scenes in shards of three, one of them without labels; for one test to change."""
    return make_run(7, damage={BROKEN: b"no image"})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs such a run puts it for the others."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def small(kept: Path, request: pytest.FixtureRequest) -> Path:
    """Such a run for tests that change neither it nor its images."""
    if not (kept / "run").exists():
        shutil.copytree(request.getfixturevalue("own").run, kept / "run")
    return kept / "run"


def config_for(run: Path, output: Path | str, **settings: object) -> ExportConfig:
    defaults = {"format": ExportFormat.COCO_PANOPTIC, "num_workers": 1}
    return ExportConfig(run=str(run), output=str(output), **(defaults | settings))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def exported_names(folder: Path) -> set[str]:
    """File names of the originals in a COCO panoptic export."""
    contents = [json.loads(path.read_text()) for path in folder.glob("annotations/*.json")]
    return {Path(image["uri"]).name for content in contents for image in content["images"]}


def test_an_export_reports_and_writes_down_what_it_is_made_of(small, tmp_path):
    report = run_export(config_for(small, tmp_path / "out", val_share=0.5))
    assert sum(report.num_images.values()) == 6
    assert (report.num_units, report.num_exported) == (3, 3)
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    plan = json.loads((small / "_plan" / "plan.json").read_text())
    assert provenance["plan_id"] == plan["plan_id"]
    assert provenance["model_sha256"] == plan["settings"]["model_sha256"]
    assert provenance["vocabulary_sha256"] == plan["settings"]["vocabulary_sha256"]
    assert provenance["num_images"] == report.num_images
    assert provenance["num_segments"] == report.num_segments > 6
    assert provenance["num_corrected"] == 0
    assert (provenance["format"], provenance["where"]) == ("coco-panoptic", None)
    assert set(provenance["versions"]) == {"possam", "numpy", "pillow", "pyarrow"}
    assert len(provenance["categories"]) == 48


def test_the_same_call_again_finds_everything_and_touches_nothing(small, tmp_path):
    config = config_for(small, tmp_path / "out")
    first = run_export(config)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    second = run_export(config)
    assert second == replace(first, num_exported=0)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times


def test_two_processes_write_the_same_bytes_as_one(scene_run, tmp_path):
    for num_workers in (1, 2):
        scene_run.export(tmp_path / str(num_workers), "detectron2", num_workers=num_workers)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


@pytest.mark.parametrize("format", list(ExportFormat))
def test_a_rerun_exports_only_what_is_missing_and_gives_the_same_bytes(small, tmp_path, format):
    config = config_for(small, tmp_path / "out", format=format, val_share=0.3)
    run_export(config)
    whole = digests(tmp_path / "out")
    parts = sorted((tmp_path / "out" / "_export" / "parts").iterdir())
    kept = parts[1].stat().st_mtime_ns
    # As if it had been killed in the first shard, whose outputs are there, half written.
    (tmp_path / "out" / "provenance.json").unlink()
    parts[0].unlink()
    parts[2].unlink()
    stems = {row["image_id"] for row in read_rows(small)}
    for path in filter(Path.is_file, (tmp_path / "out").rglob("*")):
        if path.stem in stems or path.stem.endswith("-00000000"):
            path.write_bytes(path.read_bytes()[:10])
    assert run_export(config).num_exported == 2
    assert digests(tmp_path / "out") == whole
    assert parts[1].stat().st_mtime_ns == kept


def test_killed_part_way_the_same_command_does_the_rest(scene_run: TrueRun, tmp_path):
    arguments = ["--format", "coco-panoptic", "--num-workers", "1", "--val-share", "0.2"]
    output = ["--output", str(tmp_path / "killed")]
    command = [sys.executable, "-c", KILLED_IN_THE_THIRD_SHARD, "export", str(scene_run.run)]
    killed = subprocess.run([*command, *arguments, *output], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed" / "_export" / "parts").iterdir())) == 2
    assert len(list((tmp_path / "killed").rglob("*.png"))) == 3 * SHARD_SIZE
    report = scene_run.export(tmp_path / "killed", "coco-panoptic", val_share=0.2)
    assert report.num_exported == report.num_units - 2
    scene_run.export(tmp_path / "whole", "coco-panoptic", val_share=0.2)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "condition"),
    [
        ({"where": "mean_score > 0.65"}, "quality.mean_score > 0.65"),
        ({"min_grade": "B"}, "quality.grade <= 'B'"),
        ({"where": "num_segments >= 5 or grade = 'C'", "min_grade": "C"},
         "(len(segments_info) >= 5 or quality.grade = 'C') and quality.grade <= 'C'"),
    ],
)  # fmt: skip
def test_a_filter_keeps_exactly_the_rows_that_duckdb_keeps(
    scene_run: TrueRun, tmp_path, settings, condition
):
    files = f"read_parquet('{scene_run.run}/data/*/*.parquet')"
    query = f"SELECT image_id FROM {files} WHERE status = 'ok' AND {condition}"
    expected = {image_id for (image_id,) in duckdb.sql(query).fetchall()}
    assert 0 < len(expected) < NUM_SCENES
    report = scene_run.export(tmp_path / "out", "semantic-png", labels_only=True, **settings)
    found = {path.stem for path in (tmp_path / "out" / "annotations").rglob("*.png")}
    assert found == expected
    assert report.num_images == {"train": len(expected)}


def test_a_filter_in_the_terms_of_pyarrow_keeps_what_the_same_in_sql_keeps(
    scene_run: TrueRun, tmp_path
):
    def export(name: str, **settings: object) -> dict[str, str]:
        config = ExportConfig(
            run=str(scene_run.run),
            output=str(tmp_path / name),
            format=ExportFormat.COCO_PANOPTIC,
            labels_only=True,
            num_workers=2,
            where=settings.get("sql"),
        )
        report = run_export(config, where=settings.get("expression"))
        assert 0 < report.num_images["train"] < NUM_SCENES
        return digests(tmp_path / name / "annotations")

    expression = (pc.field("mean_score") > 0.65) & (pc.field("num_segments") >= 5)
    sql = "mean_score > 0.65 and num_segments >= 5"
    assert export("pyarrow", expression=expression) == export("sql", sql=sql)
    provenance = json.loads((tmp_path / "pyarrow" / "provenance.json").read_text())
    assert provenance["where"] == "((mean_score > 0.65) and (num_segments >= 5))"
    with pytest.raises(ConfigError, match="choose another --output"):
        export("pyarrow", expression=pc.field("mean_score") > 0.7)
    with pytest.raises(ConfigError, match="expected one filter"):
        export("both", expression=expression, sql=sql)


def test_the_newest_row_of_an_image_is_exported(own, tmp_path):
    rows = read_rows(own.run)
    position = next(i for i, row in enumerate(rows) if row["status"] == "error")
    other = next(row for row in rows if row["status"] == "ok")
    names = ("image_id", "uri", "etag")
    add_retry(own.run, [other | {name: rows[position][name] for name in names}])
    report = run_export(config_for(own.run, tmp_path / "out", labels_only=True))
    assert report.num_images == {"train": 7}


def test_an_image_that_is_gone_or_changed_is_left_out_and_named(own, tmp_path):
    (own.images / "scene-00000.jpg").unlink()
    (own.images / "scene-00002.jpg").write_bytes(b"something else")
    report = run_export(config_for(own.run, tmp_path / "out"))
    assert report.num_images == {"train": 4}
    assert {(Path(image.uri).name, image.code) for image in report.left_out} == {
        ("scene-00000.jpg", "not_found"),
        ("scene-00002.jpg", "input_changed"),
    }
    assert isinstance(report.left_out[0], LeftOut)
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["left_out"] == {"input_changed": 1, "not_found": 1}
    assert exported_names(tmp_path / "out") == {f"scene-0000{i}.jpg" for i in (3, 4, 5, 6)}


def test_labels_alone_do_not_need_the_images(own, tmp_path):
    for path in own.images.iterdir():
        path.unlink()
    report = run_export(config_for(own.run, tmp_path / "out", labels_only=True))
    assert report.num_images == {"train": 6}
    assert not (tmp_path / "out" / "train").exists()
    content = json.loads((tmp_path / "out" / "annotations" / "panoptic_train.json").read_text())
    names = {image["file_name"] for image in content["images"]}
    assert names == {f"scene-0000{i}.jpg" for i in (0, 2, 3, 4, 5, 6)}


@pytest.mark.parametrize("format", [ExportFormat.COCO_PANOPTIC, ExportFormat.DETECTRON2])
def test_an_image_that_lies_on_its_side_is_written_upright_like_its_labels(
    make_run, tmp_path, format
):
    scene = generate_scene(SEED, 0).image
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(scene).transpose(Image.Transpose.ROTATE_90)
    small = make_run(1, damage={0: encode(lying, exif=exif, quality=95)})
    run_export(config_for(small.run, tmp_path / "out", format=format))
    (picture,) = (tmp_path / "out" / "train").iterdir()
    (png,) = (tmp_path / "out").rglob("panoptic_train/*.png")
    decoded = decode_image(picture.read_bytes())
    assert decoded.exif_orientation == 1
    assert decoded.pixels.shape[:2] == Image.open(png).size[::-1] == scene.shape[:2]
    assert np.abs(decoded.pixels.astype(int) - scene).mean() < 5


def test_classes_are_chosen_and_joined(small, tmp_path):
    (tmp_path / "classes.yaml").write_text("ground: [grass, sand, snow, gravel]\nfruit: [apple]\n")
    config = config_for(small, tmp_path / "out", classes=str(tmp_path / "classes.yaml"))
    run_export(config)
    content = json.loads((tmp_path / "out" / "annotations" / "panoptic_train.json").read_text())
    assert [(c["id"], c["name"]) for c in content["categories"]] == [(2, "fruit"), (1, "ground")]
    used = {s["category_id"] for a in content["annotations"] for s in a["segments_info"]}
    assert used == {1, 2}
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["made_of"]["ground"] == ["grass", "sand", "snow", "gravel"]


def test_other_settings_on_the_same_folder_are_refused_with_the_differences(small, tmp_path):
    run_export(config_for(small, tmp_path / "out"))
    before = digests(tmp_path / "out")
    with pytest.raises(ConfigError, match=r'min_grade null -> "B"; val_share 0\.0 -> 0\.5'):
        run_export(config_for(small, tmp_path / "out", min_grade="B", val_share=0.5))
    assert digests(tmp_path / "out") == before


def test_a_run_that_has_grown_needs_another_folder(own, tmp_path):
    run_export(config_for(own.run, tmp_path / "out"))
    failed = [row for row in read_rows(own.run) if row["status"] == "error"]
    add_retry(own.run, failed)
    with pytest.raises(ConfigError, match="the run has grown or was corrected since"):
        run_export(config_for(own.run, tmp_path / "out"))


def test_a_folder_that_holds_something_else_is_refused(small, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="holds files that are not an export"):
        run_export(config_for(small, tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_filter_that_keeps_nothing_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match="but the filter keeps none"):
        run_export(config_for(small, tmp_path / "out", where="mean_score > 2"))


def test_a_condition_that_is_none_is_refused_before_anything_is_written(small, tmp_path):
    with pytest.raises(ConfigError, match="expected a condition"):
        run_export(config_for(small, tmp_path / "out", where="colour = 'blue'"))
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_one_sentence(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="but it failed"):
        run_export(config_for(small, tmp_path / "file" / "out"))


def test_every_setting_that_is_wrong_is_named(small, tmp_path):
    with pytest.raises(ConfigError, match=r"val_share must be .*num_workers .*labels_only"):
        config_for(
            small,
            tmp_path,
            format=ExportFormat.WEBDATASET,
            val_share=1.0,
            num_workers=0,
            labels_only=True,
        )
    for output in (small, small.parent):
        with pytest.raises(ConfigError, match="output must be a folder of its own"):
            config_for(small, output)


def test_an_export_can_lie_in_a_bucket(small, s3_server, tmp_path):
    filesystem = fsspec.filesystem("s3")
    filesystem.makedirs("exports", exist_ok=True)
    output, format = f"s3://exports/{tmp_path.name}", ExportFormat.COCO_INSTANCES
    assert run_export(config_for(small, output, format=format)).num_exported == 3
    assert run_export(config_for(small, output, format=format)).num_exported == 0
    filesystem.get(f"{output}/", str(tmp_path / "remote"), recursive=True)
    run_export(config_for(small, tmp_path / "local", format=format))
    assert digests(tmp_path / "remote") == digests(tmp_path / "local")
