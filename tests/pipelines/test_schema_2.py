"""Runs of row schema 2, in which every model knew every measure, are still read and finished.

`schema_2/` is one, made by the last version of possam that wrote them: five playground scenes of
seed 31 labelled by possam-tiny in shards of three, the second truncated, the fourth plain grey.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.compare.run_compare import compare_runs
from pipelines.corrections import correct_run
from pipelines.export.config import ExportConfig
from pipelines.export.export_format import ExportFormat
from pipelines.export.run import run_export
from pipelines.label.rows import shard_bytes
from pipelines.label.session import run_label
from pipelines.monitor.status import read_status
from pipelines.planning.prepare import prepare
from pipelines.planning.retry import prepare_retry, retry_config
from pipelines.reader import open_run
from pipelines.report.run_report import provenance_of
from pipelines.run.compact import compact_run
from pipelines.run.finalise import finalise
from pipelines.run.folder import MANIFEST_KEY, SCHEMA_VERSIONS, RunFolder, plan_key, shard_key
from pipelines.schema import ROW_SCHEMA, ROW_SCHEMAS
from pipelines.settings.label import LabelConfig
from pipelines.stats import run_statistics
from pipelines.verify import verify_run
from tests.factories import encode, make_pixels
from tests.pipelines.damaging import rewrite_json
from tests.pipelines.formats.annotators import write_coco

MADE = Path(__file__).parent / "schema_2"
ROOT_HASH = "735a3f628b8940d3"  # its first digits, as that version printed them


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MADE, tmp_path / "run"))


def versions_of(run: Path, pattern: str = "*.parquet") -> set[str]:
    files = [f for f in run.rglob(pattern) if not f.is_relative_to(run / "_plan")]
    schemas = [pq.ParquetFile(file).schema_arrow for file in files]
    assert all(s.field("quality").type == ROW_SCHEMAS["2"].field("quality").type for s in schemas)
    return {schema.metadata[b"schema_version"].decode() for schema in schemas}


def test_there_is_a_schema_of_each_version_and_the_last_is_that_of_new_runs() -> None:
    assert tuple(ROW_SCHEMAS) == SCHEMA_VERSIONS
    assert ROW_SCHEMAS[SCHEMA_VERSIONS[-1]] is ROW_SCHEMA
    assert pq.ParquetFile(MADE / shard_key(0)).schema_arrow.equals(ROW_SCHEMAS["2"])


def test_its_rows_are_read_with_the_same_values_in_the_columns_of_today(run: Path) -> None:
    opened = open_run(str(run), where="mean_predicted_iou > 0.8")
    (rows, _) = opened.tables()
    assert rows.schema.equals(ROW_SCHEMA)
    written = pq.ParquetFile(run / shard_key(0)).read().to_pylist()
    assert rows.to_pylist() == [written[0], written[2]]
    assert opened.to_arrow().read_all().num_rows == 3
    assert [len(image.segmentation.segments) for image in opened] == [4, 4, 1]
    assert opened.plan.settings.teacher is None


def test_it_is_verified_and_counted_and_described(run: Path) -> None:
    assert verify_run(str(run)).problems == []
    statistics = run_statistics(str(run))
    assert (statistics.num_images, statistics.grades) == (5, {"B": 1, "C": 1, "D": 2})
    assert set(statistics.all_segments().num_unknown().values()) == {0}
    status = read_status(str(run))
    assert (status.state, status.teacher) == ("finalised", None)
    assert dict(provenance_of(open_run(str(run))))["Row schema"] == "2"


def test_its_manifest_written_again_is_the_same_and_knows_the_coverage(run: Path) -> None:
    before = json.loads((run / MANIFEST_KEY).read_bytes())
    assert before["root_hash"].startswith(ROOT_HASH)
    (run / MANIFEST_KEY).unlink()
    finalise(RunFolder(str(run)))
    after = json.loads((run / MANIFEST_KEY).read_bytes())
    assert 0 < after["totals"].pop("mean_coverage") <= 1
    assert after == before


def test_its_rows_written_again_are_the_same_bytes(run: Path) -> None:
    for shard in range(2):
        file = run / shard_key(shard)
        table = pq.ParquetFile(file).read()
        provenance = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
        assert shard_bytes(table.to_pylist(), provenance, version="2") == file.read_bytes()


def test_an_image_without_segments_has_the_numbers_of_that_version(run: Path) -> None:
    row = pq.ParquetFile(run / shard_key(0)).read().to_pylist()[0]
    unknown = dict.fromkeys(("mean_predicted_iou", "entropy", "clip_agreement"))
    row |= {"segments_info": [], "quality": row["quality"] | unknown}
    table = pq.ParquetFile(pa.BufferReader(shard_bytes([row], {}, version="2"))).read()
    quality = table.to_pylist()[0]["quality"]
    assert [quality[name] for name in unknown] == [0.0, 1.0, 0.0]
    table = pq.ParquetFile(pa.BufferReader(shard_bytes([row], {}))).read()
    assert [table.to_pylist()[0]["quality"][name] for name in unknown] == [None] * 3


def test_it_is_exported_and_compacted_and_compared(run: Path, tmp_path: Path) -> None:
    config = ExportConfig(
        run=str(run),
        output=str(tmp_path / "out"),
        format=ExportFormat.COCO_PANOPTIC,
        labels_only=True,
        num_workers=1,
    )
    assert run_export(config).num_images == {"train": 4}
    info = json.loads((tmp_path / "out/annotations/panoptic_train.json").read_text())["info"]
    assert info["teacher"] is None
    (file,) = compact_run(str(run)).files
    assert pq.ParquetFile(run / file.key).schema_arrow.equals(ROW_SCHEMA)
    report = compare_runs(str(run), str(run), str(tmp_path / "page"))
    assert (report.comparison.num_images, report.comparison.changed) == (5, 0.0)


def test_corrections_of_it_are_of_its_version(run: Path, tmp_path: Path) -> None:
    row = pq.ParquetFile(run / shard_key(0)).read().to_pylist()[0]
    whole = np.ones((row["height"], row["width"]), np.int32)
    file = write_coco(tmp_path / "done.json", {row["uri"]: (whole, {1: "apple"})})
    correct_run(str(run), file, author="Ada")
    assert versions_of(run) == {"2"}
    assert verify_run(str(run)).problems == []
    image = next(iter(open_run(str(run))))
    assert image.correction is not None
    assert (image.row["quality"]["grade"], image.row["quality"]["mean_predicted_iou"]) == ("A", 1.0)


def test_a_file_of_another_version_in_it_is_reported(run: Path) -> None:
    file = run / shard_key(1)
    table = pq.ParquetFile(file).read()
    provenance = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    file.write_bytes(shard_bytes(table.to_pylist(), provenance | {"schema_version": "3"}))
    problems = verify_run(str(run)).problems
    assert f"{shard_key(1)}: says schema_version 3, expected 2" in problems
    assert f"{shard_key(1)}: has other columns than rows of schema 2" in problems


@pytest.mark.usefixtures("ray_cluster")
def test_a_half_done_run_is_resumed_and_retried_in_its_own_version(
    tmp_path: Path, tiny_model: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        (images / f"{i}.jpg").write_bytes(encode(make_pixels(seed=i)))
    (images / "3.jpg").write_bytes(b"")
    config = LabelConfig(
        images=str(images),
        output=str(tmp_path / "run"),
        model=tiny_model,
        num_workers=1,
        shard_size=2,
    )
    plan_id = prepare(config).plan.plan_id
    run = tmp_path / "run"

    def make_older(head: dict) -> None:
        head["schema_version"] = "2"
        del head["settings"]["teacher"]

    rewrite_json(run / plan_key(0), make_older)
    first = run_label(config).manifest
    assert first is not None
    assert (first.plan_id, first.schema_version) == (plan_id, "2")
    # Without one of its files it is half done; the other process makes the same file of it.
    (run / shard_key(1)).unlink()
    (run / MANIFEST_KEY).unlink()
    assert run_label(config).manifest == first
    assert versions_of(run) == {"2"}
    assert verify_run(str(run)).problems == []
    assert prepare_retry(retry_config(str(run)), ("empty",)).plan.schema_version == "2"
