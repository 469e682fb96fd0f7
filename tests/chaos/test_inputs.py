"""Corpora and settings that go wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from pipelines.planning.prepare import prepare
from pipelines.settings.label import LabelConfig
from pipelines.verify import verify_run
from tests.chaos.ceph import Ceph
from tests.chaos.conftest import NUM_CPUS
from tests.chaos.corpus import make_corpus
from tests.chaos.runs import Reference, label, read_rows, start_command
from tests.zoo import ODD_KEYS, make_zoo

BAD_INPUT = 2


def make_config(ceph: Ceph, files: dict[str, bytes], **changes: Any) -> LabelConfig:
    """A job over `files`, in a bucket of its own."""
    bucket = ceph.make_bucket()
    ceph.upload(f"s3://{bucket}/images", files)
    config = LabelConfig(images=f"s3://{bucket}/images", output=f"s3://{bucket}/run", num_workers=2)
    return replace(config, **changes)


def test_other_settings_on_the_same_folder_are_refused_and_it_stays_as_it_is(
    hundreds: Reference, ceph: Ceph, tmp_path: Path
) -> None:
    before = ceph.snapshot(hundreds.config.output)
    others = replace(hundreds.config, shard_size=7, images=f"{hundreds.config.images}-of-others")
    command = start_command(others, tmp_path / "log")
    assert command.wait() == BAD_INPUT
    output = " ".join(command.output.split())
    assert "shard_size 10 -> 7" in output
    assert f"images {hundreds.config.images} -> {others.images}" in output
    assert ceph.snapshot(hundreds.config.output) == before


def test_what_was_deleted_or_overwritten_after_planning_is_named_and_nothing_else_is(
    ceph: Ceph, cluster: Cluster
) -> None:
    config = make_config(ceph, make_corpus(400), shard_size=50)
    prepare(config)
    names = sorted(make_corpus(400))
    deleted, overwritten = names[::20], names[10::20]
    ceph.delete(config.images, deleted)
    newer = list(make_corpus(440).values())[400:]
    ceph.upload(config.images, dict(zip(overwritten, newer, strict=False)))

    report = label(config)
    assert report.manifest is not None
    assert report.manifest.totals.ok == 360
    assert report.manifest.totals.errors == {"input_changed": 20, "not_found": 20}
    codes = {Path(row["uri"]).name: row["error_code"] for row in read_rows(config.output)}
    assert {codes[name] for name in deleted} == {"not_found"}
    assert {codes[name] for name in overwritten} == {"input_changed"}
    assert verify_run(config.output).problems == []


@pytest.mark.parametrize(
    ("num_images", "num_workers"),
    [
        pytest.param(1, 2, id="one-image"),
        pytest.param(7, 1, id="not-a-multiple-of-the-shard"),
        pytest.param(12, NUM_CPUS, id="as-many-workers-as-cpus"),
    ],
)
def test_any_number_of_images_and_workers_ends(
    ceph: Ceph, cluster: Cluster, num_images: int, num_workers: int
) -> None:
    files = make_corpus(num_images)
    config = make_config(ceph, files, shard_size=3, num_workers=num_workers)
    report = label(config)
    assert report.manifest is not None
    assert [file.rows for file in report.manifest.files] == [
        len(range(num_images)[first : first + 3]) for first in range(0, num_images, 3)
    ]
    assert [Path(row["uri"]).name for row in read_rows(config.output)] == sorted(files)
    assert verify_run(config.output).problems == []


def test_a_corpus_without_a_single_good_image_ends_with_a_row_for_each(
    ceph: Ceph, cluster: Cluster
) -> None:
    garbage = {f"{number}.jpg": b"no image %d" % number for number in range(10)}
    config = make_config(ceph, garbage, shard_size=4)
    report = label(config)
    assert report.manifest is not None
    assert (report.manifest.totals.ok, report.manifest.totals.errors) == (0, {"not_an_image": 10})
    assert verify_run(config.output).problems == []


def test_no_images_at_all_is_a_sentence(ceph: Ceph, tmp_path: Path) -> None:
    config = make_config(ceph, {"read me.txt": b"nothing here"})
    command = start_command(config, tmp_path / "log")
    assert command.wait() == BAD_INPUT
    (sentence,) = command.output.splitlines()
    assert sentence.startswith("possam: expected images")
    assert ceph.snapshot(config.output) == {}


def test_each_animal_of_the_zoo_gets_its_code_or_its_size(ceph: Ceph, cluster: Cluster) -> None:
    animals = {animal.data: animal for animal in make_zoo()}.values()  # a plan drops duplicates
    zoo = {animal.name: animal for animal in animals}
    config = make_config(ceph, {name: a.data for name, a in zoo.items()}, shard_size=64)
    report = label(config)
    assert report.manifest is not None
    rows = {Path(row["uri"]).name: row for row in read_rows(config.output)}
    assert {name: row["error_code"] for name, row in rows.items()} == {
        name: animal.error_code for name, animal in zoo.items()
    }
    assert {n: (r["height"], r["width"]) for n, r in rows.items() if r["status"] == "ok"} == {
        name: animal.image_hw for name, animal in zoo.items() if animal.error_code is None
    }
    assert verify_run(config.output).problems == []


def test_each_odd_key_gets_a_row_and_its_labels_if_it_can_be_asked_for(
    ceph: Ceph, cluster: Cluster
) -> None:
    bucket = ceph.make_bucket()
    keys = {key: is_fine for key, is_fine in ODD_KEYS if "\0" not in key}  # which Ceph refuses
    for key, data in zip(keys, make_corpus(len(keys)).values(), strict=True):
        ceph.put_anywhere(bucket, key, data)
    prefix = f"s3://{bucket}/"
    report = label(
        LabelConfig(images=f"{prefix}odd", output=f"{prefix}run", num_workers=2, shard_size=16)
    )
    assert report.manifest is not None
    rows = {row["uri"].removeprefix(prefix): row["error_code"] for row in read_rows(f"{prefix}run")}
    assert rows == {key: None if is_fine else "bad_key" for key, is_fine in keys.items()}
    assert verify_run(f"{prefix}run").problems == []
