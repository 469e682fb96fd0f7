from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.planning.canary import canary_config, canary_location, is_canary_of, plan_canary
from pipelines.planning.prepare import prepare
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import load_plan
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from tests.factories import encode, make_pixels


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(12):
        (folder / f"{i:02d}.jpg").write_bytes(encode(make_pixels(seed=i)))
    return folder


@pytest.fixture
def config(corpus: Path, tmp_path: Path, tiny_model: str) -> Iterator[LabelConfig]:
    return LabelConfig(
        images=str(corpus),
        output=str(tmp_path / "run"),
        model=tiny_model,
        shard_size=5,
        since="2020-01-01",
    )


def images_of(location: str) -> dict[str, str]:
    run = RunFolder(location)
    plan = load_plan(run)
    assert plan is not None
    return {i.image_id: i.uri for s in range(plan.num_shards) for i in read_shard(run, s)}


def test_a_canary_is_a_sample_of_the_plan_beside_the_run(config: LabelConfig) -> None:
    planned = prepare(config).plan
    canary = canary_config(config, 4)
    plan_canary(planned, config.output, canary)
    assert canary.output == f"{config.output}-canary-4"
    sample, corpus = images_of(canary.output), images_of(config.output)
    assert len(sample) == 4
    assert sample.items() <= corpus.items(), "the same ids, sizes and places"
    assert sorted(Path(config.output).iterdir()) == [Path(config.output) / "_plan"]


def test_labelling_a_canary_uses_its_plan_and_does_not_list_the_corpus(config: LabelConfig) -> None:
    canary = canary_config(config, 4)
    plan_canary(prepare(config).plan, config.output, canary)
    sample = images_of(canary.output)
    assert prepare(canary).plan.num_images == 4
    plan_canary(prepare(config).plan, config.output, canary)
    assert images_of(canary.output) == sample
    with pytest.raises(ConfigError, match="precision float32 -> bfloat16"):
        prepare(replace(canary, precision="bfloat16"))


def test_a_canary_is_known_by_its_address() -> None:
    assert is_canary_of(canary_location("s3://b/run", 64), "s3://b/run")
    for other in (
        "s3://b/run",
        "s3://b/run-canary-",
        "s3://b/run-canary-2nd",
        "s3://b/run2-canary-4",
    ):
        assert not is_canary_of(other, "s3://b/run")
