import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.fetch.image_reader import ImageReader
from pipelines.label.labeller import ImageLabeller, ImagePredictor
from pipelines.label.rows import shard_bytes
from pipelines.planning.prepare import prepare, resolve_settings
from pipelines.planning.sample import draw_sample
from pipelines.probe.forecast import Failure
from pipelines.probe.probe import run_probe, shares_of_time
from pipelines.settings.label import LabelConfig
from pipelines.settings.prices import PriceConfig
from possam_core.errors import ConfigError, PossamError
from possam_core.predictor import load_predictor
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.factories import encode, make_pixels

NUM_IMAGES = 36


@pytest.fixture
def config(tmp_path: Path, tiny_model: str) -> LabelConfig:
    """35 images, a file that is not an image, and no run folder yet."""
    (tmp_path / "images").mkdir()
    for i in range(NUM_IMAGES):
        (tmp_path / f"images/{i:02d}.jpg").write_bytes(encode(make_pixels(seed=i)))
    (tmp_path / "images/07.jpg").write_bytes(b"not an image")
    return LabelConfig(
        images=str(tmp_path / "images"),
        output=str(tmp_path / "run"),
        model=tiny_model,
        num_workers=2,
        shard_size=18,
    )


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_probe_measures_one_worker_and_speaks_of_all(config: LabelConfig) -> None:
    torch.set_num_threads(2)
    report = run_probe(config)
    assert torch.get_num_threads() == 2, "of this process, which may go on to other work"
    assert report.measurement.batch_images == (8, 8, 8, 8, 4)
    assert all(seconds > 0 for seconds in report.measurement.batch_seconds)
    assert report.measurement.stage_seconds["model"] > 0
    assert report.measurement.failures == (
        Failure(code="not_an_image", uri=f"{config.images}/07.jpg"),
    )
    speed = report.forecast.images_per_s
    assert speed.low < speed.value < speed.high
    assert report.forecast.all_images_per_s.value == pytest.approx(2 * speed.value)
    # Python, torch and a model do not fit in 50 MB, and these tests run in less than 50 GB.
    assert 50e6 < report.measurement.memory_bytes < 50e9
    assert (report.forecast.num_gets, report.forecast.cost) == (0, None)


def test_cpus_that_the_run_may_not_use_get_no_workers(
    config: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})  # as under taskset or Slurm
    report = run_probe(replace(config, num_workers=None), num_images=8)
    assert (report.scope.num_workers, report.scope.has_default_workers) == (2, True)


def test_the_expected_bytes_of_a_corpus_probed_whole_are_those_of_its_shard(
    config: LabelConfig,
) -> None:
    config = replace(config, shard_size=NUM_IMAGES)
    report = run_probe(config)
    settings, frozen = resolve_settings(config)
    images = draw_sample(config, settings, NUM_IMAGES).images
    labeller = ImageLabeller(lambda: load_predictor(config.model, frozen.vocabulary), ImageReader())
    size = len(shard_bytes(list(labeller.rows(images)), {}))
    assert report.forecast.output_bytes.value == pytest.approx(size)
    assert report.forecast.fetched_bytes.value == pytest.approx(
        sum(path.stat().st_size for path in Path(config.images).iterdir())
    )


def test_a_probe_writes_nothing_before_there_is_a_plan_or_after(
    config: LabelConfig, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    assert not run_probe(config, num_images=8).scope.is_planned
    assert tree(tmp_path) == before
    assert not Path(config.output).exists()
    prepare(config)
    before = tree(tmp_path)
    assert run_probe(config, num_images=8).scope.is_planned
    assert tree(tmp_path) == before


def test_a_probe_reports_in_text_and_json(config: LabelConfig) -> None:
    report = run_probe(replace(config, prices=PriceConfig(worker_hour=2)), num_images=10)
    text = report.to_text()
    assert text.startswith(f"Labelled 10 of 36 images, drawn at random, in {config.images} with")
    assert "USD" in text
    assert json.loads(json.dumps(report.to_json()))["measurement"]["batch_images"] == [8, 2]


def test_one_image_is_enough(config: LabelConfig) -> None:
    report = run_probe(replace(config, images=f"{config.images}/00.jpg"))
    assert report.measurement.batch_images == (1,)
    assert report.forecast.images_per_s.low is None
    assert report.to_text().startswith("Labelled all of 1 image in ")


def test_a_model_of_ones_own_is_probed_instead(config: LabelConfig) -> None:
    class Grumpy:
        """Labels nothing."""

        fingerprint = "0"

        def __call__(self, images: Sequence[Any]) -> list[Any]:
            raise RuntimeError("not today")

    def load(name: str, vocabulary: Vocabulary) -> ImagePredictor:
        assert (name, vocabulary.name) == (config.model, "playground")
        return Grumpy()

    failures = run_probe(config, num_images=8, load_model=load).measurement.failures
    assert [failure.code for failure in failures] == ["inference_failed"] * 8


def test_trouble_of_a_store_is_one_sentence(
    config: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("timed out\nand much more")

    monkeypatch.setattr(ImageReader, "fetch", fail)
    with pytest.raises(PossamError, match=r"but a store failed \(timed out\); try again"):
        run_probe(config)


def test_an_empty_sample_and_an_empty_corpus_are_refused(
    config: LabelConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="at least 1 image, got 0"):
        run_probe(config, num_images=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="found none"):
        run_probe(replace(config, images=str(tmp_path / "empty")))


@pytest.mark.parametrize(
    ("intervals", "shares"),
    [
        ([3.0], [3.0]),
        ([4.0, 1.0], [2.0, 3.0]),
        ([4.0, 2.5, 0.5], [2.0, 2.0, 3.0]),
        ([4.0, 2.0, 3.0, 0.5], [2.0, 2.0, 2.0, 3.5]),
    ],
)
def test_rows_that_come_out_a_batch_late_are_counted_where_they_belong(
    intervals: list[float], shares: list[float]
) -> None:
    assert shares_of_time(intervals) == shares
