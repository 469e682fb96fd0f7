"""Tests of pipelines.reader.ray_dataset."""

from pathlib import Path

from pipelines import open_run


def test_ray_reads_the_rows_that_the_run_has(run: Path, ray_cluster: None) -> None:
    opened = open_run(str(run), where="mean_score > 0.65 OR status = 'error'")
    expected = [row for rows in opened.tables() for row in rows.to_pylist()]
    found = {row["image_id"]: row for row in opened.to_ray().take_all()}
    assert sorted(found) == sorted(row["image_id"] for row in expected)
    for row in expected:
        other = found[row["image_id"]]
        for name in ("uri", "status", "error_code", "width", "quality"):
            assert other[name] == row[name]
        counts = [s["segmentation"]["counts"] for s in other["segments_info"]]
        assert counts == [s["segmentation"]["counts"] for s in row["segments_info"]]
