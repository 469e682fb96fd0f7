"""Workers die without a word, at every point of a shard's way."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from pipelines.label.session import run_label
from pipelines.settings.label import LabelConfig
from pipelines.verify import verify_run
from possam_core.playground import write_corpus
from tests.chaos.runs import (
    Reference,
    elsewhere,
    label,
    require_sound,
    wait_until,
    worker_processes,
)
from tests.chaos.stand_in import Orders

POINTS = ("at-start", "after-read", "before-put", "after-put")
SEEDS = (0, 2, 6, 8, 10)  # each draws eight kills or more
MAX_RUNS = 5  # that an operator would start before asking for help


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_four_points_a_run_ends_as_if_undisturbed(
    thousands: Reference, run_location: str, tmp_path: Path, seed: int
) -> None:
    orders = Orders(kill_probability=0.06, seed=seed, markers=str(tmp_path))
    config = elsewhere(thousands, run_location)
    for _ in range(MAX_RUNS):
        if label(config, orders).manifest is not None:
            break
    killed = [marker.name for marker in tmp_path.glob("killed-*")]
    assert len(killed) >= 5
    assert all(name.removeprefix("killed-").startswith(POINTS) for name in killed)
    require_sound(run_location, thousands)


def test_the_bundled_model_gives_the_same_root_hash_after_its_worker_was_killed(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_corpus(tmp_path / "corpus", num_images=160, seed=5)
    peace = LabelConfig(
        images=str(tmp_path / "corpus/images"),
        output=str(tmp_path / "peace"),
        num_workers=2,
        shard_size=5,
    )
    trouble = replace(peace, output=str(tmp_path / "trouble"))

    def kill_a_worker() -> None:
        wait_until(lambda: any((tmp_path / "trouble").rglob("shard-*.parquet")))
        worker_processes()[0].kill()

    expected = run_label(peace, console=Console(quiet=True)).manifest
    with ThreadPoolExecutor(1) as pool:
        kill = pool.submit(kill_a_worker)
        found = run_label(trouble, console=Console(quiet=True)).manifest
        kill.result()
    assert expected is not None
    assert found is not None
    assert expected.totals.segments > 160
    assert found.root_hash == expected.root_hash
    assert verify_run(trouble.output).problems == []
