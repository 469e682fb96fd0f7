from pathlib import Path

import pytest

from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError


def make_config(**settings: object) -> LabelConfig:
    return LabelConfig(**{"images": "/corpus", "output": "/run", **settings})  # type: ignore[arg-type]


def test_addresses_are_made_absolute_and_times_have_a_zone() -> None:
    config = make_config(images="s3://bucket/prefix/", since="2026-01-31")
    assert config.images == "s3://bucket/prefix"
    assert config.since == "2026-01-31T00:00:00+00:00"
    assert make_config(since="2026-01-31T12:00+01:00").since == "2026-01-31T12:00:00+01:00"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_workers", 0),
        ("gpus_per_worker", -1.0),
        ("shard_size", 100_001),
        ("limit", 0),
        ("sample", 0.0),
        ("sample", 1.5),
        ("since", "yesterday"),
        ("error_budget", 1.1),
        ("consistency_share", -0.1),
        ("consistency_share", 1.5),
        ("output", "/corpus"),
    ],
)
def test_a_value_out_of_range_is_named(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must .*{value}"):
        make_config(**{setting: value})


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"shard_size .*limit .*error_budget"):
        make_config(shard_size=0, limit=0, error_budget=2.0)


@pytest.mark.parametrize(
    ("images", "output"),
    [
        ("{}/images", "{}/images/run"),
        ("{}/images/", "{}/images/run"),
        ("{}/images/*.jpg", "{}/images/run"),
        ("{}/images", "{}/other/../images/run"),
        ("{}/images", "{}/link/run"),
        ("{}/link", "{}/images/run"),
        ("s3://bucket/a", "s3://bucket/a/run"),
    ],
)
def test_an_output_inside_the_images_is_refused_however_it_is_written(
    images: str, output: str, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    with pytest.raises(ConfigError, match="output must not lie inside images"):
        LabelConfig(images=images.format(tmp_path), output=output.format(tmp_path))


def test_an_output_whose_name_begins_as_the_images_do_is_accepted() -> None:
    LabelConfig(images="s3://bucket/a", output="s3://bucket/ab")
    LabelConfig(images="/data/photos", output="/data/photos-labels")
    LabelConfig(images="/data/run/images", output="/data/run")
