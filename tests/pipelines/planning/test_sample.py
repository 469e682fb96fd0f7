import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.corpus.source import read_source
from pipelines.planning import sample
from pipelines.planning.candidates import CANDIDATE_SCHEMA
from pipelines.planning.prepare import prepare, resolve_settings
from pipelines.planning.sample import MIN_SHARDS, CorpusSample, draw, draw_sample, some_shards
from pipelines.run.parts import read_shard
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from tests.factories import encode, make_pixels


def batch(first: int, num_rows: int, container: str | None = None) -> pa.RecordBatch:
    rows = [
        {"image_id": str(i), "uri": f"/{i}.jpg", "container": container, "offset": i}
        for i in range(first, first + num_rows)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=CANDIDATE_SCHEMA)


def numbers(batches: list[pa.RecordBatch], size: int) -> list[int]:
    images, _ = draw(batches, size)
    return [int(image.image_id) for image in images]


def test_a_stream_that_is_smaller_than_the_sample_is_taken_whole() -> None:
    images, num_seen = draw([batch(0, 3), batch(3, 0), batch(3, 4)], 10)
    assert [image.uri for image in images] == [f"/{i}.jpg" for i in range(7)]
    assert num_seen == 7
    assert draw([], 10) == ([], 0)


def test_every_part_of_a_stream_has_its_share_in_the_sample() -> None:
    sizes = {0: 200, 200: 1800, 2000: 8000}
    drawn = numbers([batch(first, size) for first, size in sizes.items()], 1000)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 1000
    # A tenth of each; more than four standard deviations away happens once in 16,000 times.
    for first, size in sizes.items():
        num_drawn = sum(first <= n < first + size for n in drawn)
        assert abs(num_drawn - size / 10) < 4 * (size * 0.09) ** 0.5


def test_the_same_stream_gives_the_same_sample_however_it_is_cut() -> None:
    whole, halves = [batch(0, 1000)], [batch(0, 500), batch(500, 500)]
    assert numbers(whole, 20) == numbers(halves, 20)


def test_packed_images_are_drawn_with_their_neighbours() -> None:
    drawn = numbers([batch(0, 400, "/a.tar"), batch(400, 400, "/b.tar")], 16)
    for first in (drawn[0], drawn[8]):
        assert first % 8 == 0
    assert drawn == [*range(drawn[0], drawn[0] + 8), *range(drawn[8], drawn[8] + 8)]


@pytest.fixture
def config(tmp_path: Path, tiny_model: str) -> LabelConfig:
    """Twelve images, a month between each and the next; the last repeats another."""
    (tmp_path / "images").mkdir()
    for i in range(12):
        file = tmp_path / f"images/{i:02d}.jpg"
        file.write_bytes(encode(make_pixels(seed=i % 11)))
        os.utime(file, (i * 2_600_000, i * 2_600_000))
    return LabelConfig(
        images=str(tmp_path / "images"), output=str(tmp_path / "run"), model=tiny_model
    )


def sample_of(config: LabelConfig, num_images: int) -> CorpusSample:
    settings, _ = resolve_settings(config)
    return draw_sample(config, settings, num_images)


def names(sample: CorpusSample) -> list[str]:
    return [Path(image.uri).stem for image in sample.images]


def test_without_a_plan_the_corpus_is_listed_as_a_plan_would_hold_it(config: LabelConfig) -> None:
    sample = sample_of(config, 64)
    assert (sample.num_images, sample.is_planned) == (11, False)
    planned = prepare(config)
    assert sample.images == read_shard(planned.run, 0)
    again = sample_of(config, 64)
    assert again == CorpusSample(images=sample.images, num_images=11, is_planned=True)


def test_a_sample_represents_all_that_a_plan_would_hold(config: LabelConfig) -> None:
    sample = sample_of(config, 4)
    assert (len(sample.images), sample.num_images) == (4, 11)
    prepare(config)
    assert sample_of(config, 4) == replace(sample, is_planned=True)


def test_limit_and_since_hold_for_the_sample_too(config: LabelConfig) -> None:
    assert names(sample_of(replace(config, limit=3), 64)) == ["00", "01", "02"]
    late = sample_of(replace(config, since="1970-10-01"), 64)
    assert names(late) == ["10", "11"]
    assert late.num_images == 2


def test_a_limit_is_counted_over_batches(
    config: LabelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_pairs(images: str, **options: object) -> Iterator[pa.RecordBatch]:
        whole = pa.Table.from_batches(read_source(images, **options))
        yield from whole.combine_chunks().to_batches(max_chunksize=2)

    monkeypatch.setattr(sample, "read_source", in_pairs)
    limited = sample_of(replace(config, limit=5), 64)
    assert names(limited) == ["00", "01", "02", "03", "04"]
    assert limited.num_images == 5


def test_a_choice_that_leaves_nothing_is_an_error(config: LabelConfig) -> None:
    with pytest.raises(ConfigError, match="--since leaves none"):
        sample_of(replace(config, since="2020-01-01"), 64)


def test_a_plan_of_other_settings_is_refused(config: LabelConfig) -> None:
    prepare(config)
    with pytest.raises(ConfigError, match="shard_size 1024 -> 5"):
        sample_of(replace(config, shard_size=5), 64)


def test_of_many_shards_only_as_many_are_read_as_the_sample_needs(
    config: LabelConfig, tmp_path: Path
) -> None:
    for i in range(40):
        (tmp_path / f"images/{i:02d}.bmp").write_bytes(b"%d" % i)
    prepared = prepare(replace(config, shard_size=1))
    run, plan = prepared.run, prepared.plan
    assert plan.num_shards == 51
    assert MIN_SHARDS == 16
    for num_images, num_read in ((10, 16), (30, 31), (64, 51)):
        batches = list(some_shards(run, plan, num_images))
        assert [b.num_rows for b in batches] == [1] * num_read
        assert len(draw(batches, num_images)[0]) == min(num_images, 51)
