"""The whole job: real Ray, a real model, real stores."""

import contextlib
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from pipelines.label.session import LabelReport, run_label
from pipelines.schema import ROW_SCHEMA
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from possam_core.images.decode import EXIF_ORIENTATION_TAG
from tests.factories import encode, make_pixels

pytestmark = pytest.mark.usefixtures("ray_cluster")

NUM_GOOD = 60
SHARD_SIZE = 4
DAMAGED = {
    "empty.jpg": "empty",
    "html.jpg": "not_an_image",
    "long.png": "bad_aspect",
    "small.png": "too_small",
    "tiff.jpg": "unsupported_format",
    "truncated.jpg": "truncated",
}


def write_zoo(folder: Path) -> None:
    """Sixty good images, some of them odd, and one of each kind of damaged file."""
    folder.mkdir()
    turned = Image.Exif()
    turned[EXIF_ORIENTATION_TAG] = 6
    sixteen_bit = np.linspace(0, 65535, 40 * 50, dtype=np.uint16).reshape(40, 50)
    odd = {
        "deep/er/turned.JPG": encode(make_pixels(40, 60), exif=turned),
        "sixteen-bit.png": encode(Image.fromarray(sixteen_bit), "PNG"),
        "é ü #1.jpg": encode(make_pixels(40, 60, seed=99)),
    }
    plain = {
        f"{i:02d}.jpg": encode(make_pixels(40 + i, 60, seed=i)) for i in range(NUM_GOOD - len(odd))
    }
    damaged = {
        "empty.jpg": b"",
        "html.jpg": b"<!doctype html><p>404",
        "long.png": encode(Image.new("L", (30_000, 1)), "PNG"),
        "small.png": encode(make_pixels(7, 30), "PNG"),
        "tiff.jpg": encode(make_pixels(), "TIFF"),
        "truncated.jpg": plain["00.jpg"][:500],
        "notes.txt": b"not an image by its name: no row",
    }
    for name, data in (odd | plain | damaged).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read_rows(run: Path) -> list[dict[str, Any]]:
    files = sorted((run / "data").rglob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def listing(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@dataclass(frozen=True)
class FinishedRun:
    config: LabelConfig
    report: LabelReport
    rows: list[dict[str, Any]]

    @property
    def path(self) -> Path:
        return Path(self.config.output)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> FinishedRun:
    """One run over the zoo, by one worker."""
    folder = tmp_path_factory.mktemp("finished")
    write_zoo(folder / "images")
    config = LabelConfig(
        images=str(folder / "images"),
        output=str(folder / "run"),
        model=tiny_model,
        num_workers=1,
        shard_size=SHARD_SIZE,
    )
    return FinishedRun(config, run_label(config), read_rows(folder / "run"))


def test_every_image_is_one_row_in_order_of_its_uri(finished: FinishedRun) -> None:
    uris = [row["uri"] for row in finished.rows]
    images = Path(finished.config.images)
    assert uris == sorted(str(p) for p in images.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    assert len({row["image_id"] for row in finished.rows}) == len(uris)


def test_each_damaged_file_gets_its_name_and_no_labels(finished: FinishedRun) -> None:
    failed = {Path(r["uri"]).name: r for r in finished.rows if r["status"] != "ok"}
    assert {name: row["error_code"] for name, row in failed.items()} == DAMAGED
    for row in failed.values():
        assert row["status"] == "error"
        assert row["error_message"]
        assert row["segments_info"] == []
        assert row["quality"] is None


def test_sizes_are_those_after_exif_rotation(finished: FinishedRun) -> None:
    (row,) = [r for r in finished.rows if r["uri"].endswith("turned.JPG")]
    assert (row["width"], row["height"], row["exif_orientation"]) == (40, 60, 6)


def test_segments_agree_with_their_masks(finished: FinishedRun) -> None:
    num_segments = 0
    for row in finished.rows:
        total = np.zeros((row["height"] or 0, row["width"] or 0), int)
        for segment in row["segments_info"]:
            mask = coco_mask.decode(segment["segmentation"])
            assert mask.sum() == segment["area"] > 0
            assert coco_mask.toBbox(segment["segmentation"]).tolist() == segment["bbox"]
            assert (segment["iscrowd"], segment["category_name"] != "") == (False, True)
            total += mask
            num_segments += 1
        assert total.max(initial=0) <= 1, "segments overlap"
        ids = [s["id"] for s in row["segments_info"]]
        assert len(set(ids)) == len(ids)
        if row["status"] == "ok":
            assert row["quality"]["coverage"] == pytest.approx((total > 0).mean())
            assert row["quality"]["num_things"] + row["quality"]["num_stuff"] == len(ids)
    assert num_segments > 10, "the model found too little for this test to mean anything"


def test_files_have_the_pinned_schema_and_say_where_they_come_from(finished: FinishedRun) -> None:
    for shard, file in enumerate(sorted((finished.path / "data").rglob("*.parquet"))):
        assert file.relative_to(finished.path).as_posix() == (
            f"data/g=0000/shard-{shard:08d}.parquet"
        )
        schema = pq.read_schema(file)
        assert schema.equals(ROW_SCHEMA)
        metadata = {k.decode(): v.decode() for k, v in schema.metadata.items()}
        plan = json.loads((finished.path / "_plan/plan.json").read_text())
        assert metadata["schema_version"] == "3"
        assert metadata["plan_id"] == plan["plan_id"]
        assert metadata["shard"] == str(shard)
        assert metadata["model_sha256"] == plan["settings"]["model_sha256"]
        teacher = json.loads(metadata["teacher"])
        assert teacher == plan["settings"]["teacher"]
        assert plan["settings"]["model_sha256"] in teacher["files"].values()


def test_the_plan_lists_each_image_with_its_place(finished: FinishedRun) -> None:
    parts = sorted((finished.path / "_plan").glob("part-*.parquet"))
    planned = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert [p["image_id"] for p in planned] == [r["image_id"] for r in finished.rows]
    assert [(p["shard"], p["position"]) for p in planned] == [
        divmod(i, SHARD_SIZE) for i in range(len(planned))
    ]


def test_the_manifest_counts_what_a_recount_counts(finished: FinishedRun) -> None:
    manifest = json.loads((finished.path / "_manifest.json").read_text())
    statuses = Counter(row["status"] for row in finished.rows)
    segments = [s for row in finished.rows for s in row["segments_info"]]
    totals = manifest["totals"]
    assert totals["images"] == len(finished.rows) == statuses["ok"] + len(DAMAGED)
    assert totals["ok"] == statuses["ok"] == NUM_GOOD
    assert totals["errors"] == dict(sorted(Counter(DAMAGED.values()).items()))
    assert totals["segments"] == len(segments)
    assert totals["things"] == sum(s["isthing"] for s in segments)
    assert sum(totals["grades"].values()) == NUM_GOOD
    on_disk = listing(finished.path / "data")
    assert {f["key"]: f["sha256"] for f in manifest["files"]} == {
        f"data/{name}": digest for name, digest in on_disk.items()
    }
    lines = "".join(f"{digest}  data/{name}\n" for name, digest in sorted(on_disk.items()))
    assert manifest["root_hash"] == hashlib.sha256(lines.encode()).hexdigest()


def test_a_finished_run_keeps_no_attempts(finished: FinishedRun) -> None:
    assert not any(name.startswith("_attempts") for name in listing(finished.path))


def test_the_same_command_again_does_nothing_and_says_so(finished: FinishedRun) -> None:
    before = listing(finished.path)
    report = run_label(finished.config)
    assert report.is_rerun
    assert report.manifest == finished.report.manifest
    assert listing(finished.path) == before


def test_other_settings_are_refused_and_the_folder_stays_as_it_is(
    finished: FinishedRun, other_model: Path, tmp_path: Path
) -> None:
    before = listing(finished.path)
    write_zoo(tmp_path / "images")
    others = {
        "shard_size 4 -> 5": {"shard_size": 5},
        "model .*tiny.* -> .*other": {"model": str(other_model)},
        "images .* -> .*": {"images": str(tmp_path / "images")},
    }
    for difference, change in others.items():
        with pytest.raises(ConfigError, match=difference):
            run_label(replace(finished.config, **change))
    assert listing(finished.path) == before


def test_two_workers_one_of_them_killed_give_the_same_root_hash(
    finished: FinishedRun, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def kill_a_worker_after_the_first_commit() -> None:
        while not list(run.rglob("shard-*.parquet")):
            time.sleep(0.01)
        for process in psutil.Process().children(recursive=True):
            if "MapWorker" in " ".join(process.cmdline()):
                process.kill()
                killed.append(process.pid)
                return

    killed: list[int] = []
    killer = threading.Thread(target=kill_a_worker_after_the_first_commit, daemon=True)
    killer.start()
    report = run_label(replace(finished.config, output=str(run), num_workers=2))
    killer.join(5)
    assert killed
    assert report.manifest is not None
    assert finished.report.manifest is not None
    assert report.manifest.root_hash == finished.report.manifest.root_hash


def test_from_s3_to_s3_and_resumed_after_half_the_shards_went(
    finished: FinishedRun, s3_server: str
) -> None:
    s3 = fsspec.filesystem("s3")
    s3.mkdir("corpus")
    s3.mkdir("labels")
    s3.put(f"{finished.config.images}/", "corpus/pictures", recursive=True)
    config = replace(finished.config, images="s3://corpus/pictures", output="s3://labels/run")
    first = run_label(config)
    assert first.manifest is not None
    assert first.manifest.totals == finished.report.manifest.totals

    gone = sorted(s3.find("labels/run/data"))[::2]
    s3.rm(gone)
    s3.pipe_file("corpus/pictures/00.jpg", encode(make_pixels(50, 50, seed=77)))
    s3.rm("corpus/pictures/é ü #1.jpg")
    second = run_label(config)
    assert second.manifest is not None
    assert second.num_images == sum(f.rows for f in first.manifest.files[::2])
    assert second.manifest.totals.errors == first.manifest.totals.errors | {
        "input_changed": 1,
        "not_found": 1,
    }


@dataclass(frozen=True)
class Command:
    """`possam label` in a process of its own, with its own Ray."""

    process: subprocess.Popen[bytes]
    run: Path
    stderr: Path

    def wait_for_a_commit(self) -> None:
        while not list((self.run / "data").rglob("shard-*.parquet")):
            assert self.process.poll() is None, self.stderr.read_text()
            time.sleep(0.005)


def start_command(config: LabelConfig, folder: Path) -> Command:
    command = [
        Path(sys.executable).with_name("possam"),
        *("label", config.images, "--output", folder / "run", "--model", config.model),
        *("--num-workers", "1", "--shard-size", str(config.shard_size)),
    ]
    with (folder / "stderr.txt").open("wb") as stderr:  # a pipe would stay open as long as Ray
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
    return Command(process, folder / "run", folder / "stderr.txt")


def test_terminated_it_takes_no_new_shard_and_exits_with_143(
    finished: FinishedRun, tmp_path: Path
) -> None:
    command = start_command(finished.config, tmp_path)
    command.wait_for_a_commit()
    command.process.terminate()
    assert command.process.wait(60) == 143
    stderr = command.stderr.read_text()
    assert "still open" in stderr
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr


def test_killed_half_way_the_rest_is_finished_to_the_same_root_hash(
    finished: FinishedRun, tmp_path: Path
) -> None:
    command = start_command(finished.config, tmp_path)
    command.wait_for_a_commit()
    started = psutil.Process(command.process.pid).children(recursive=True)
    command.process.kill()
    command.process.wait(60)
    report = run_label(replace(finished.config, output=str(command.run)))
    for process in started:  # Ray leaves its agents behind when its driver is killed
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert 0 < report.num_images < len(finished.rows)
    assert report.manifest is not None
    assert finished.report.manifest is not None
    assert report.manifest.root_hash == finished.report.manifest.root_hash


def test_a_run_whose_errors_pass_the_budget_stops_by_itself(
    tmp_path: Path, tiny_model: str
) -> None:
    (tmp_path / "images").mkdir()
    for i in range(1600):
        (tmp_path / f"images/{i:04d}.jpg").write_bytes(b"")
    config = LabelConfig(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "run"),
        model=tiny_model,
        num_workers=1,
        shard_size=50,
        error_budget=0.1,
    )
    report = run_label(config)
    assert report.manifest is None
    assert 1000 <= report.num_images < 1600
    assert "which is over the error budget of 10.0%" in str(report.failure)
    assert set(report.open_shards.values()) == {report.failure}
    forgiving = run_label(replace(config, error_budget=1.0))
    assert forgiving.manifest is not None
    assert forgiving.manifest.totals.errors == {"empty": 1600}


def test_more_gpus_than_the_cluster_has_are_refused(tmp_path: Path, tiny_model: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(encode(make_pixels()))
    config = LabelConfig(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "run"),
        model=tiny_model,
        gpus_per_worker=1.0,
    )
    with pytest.raises(ConfigError, match="it has 0 GPUs; lower"):
        run_label(config)
