"""The process that a user started ends before its work does."""

import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.chaos.ceph import Ceph
from tests.chaos.runs import (
    NUM_WORKERS,
    Reference,
    elsewhere,
    label,
    num_attempts,
    require_sound,
    start_command,
    wait_for_commits,
    wait_until,
    worker_processes,
)
from tests.chaos.stand_in import Orders

STEADY = Orders(seconds_an_image=0.02)  # so that a signal meets a run and not its end
TERMINATED = 143
SIGTERMS = 10
NUM_EARLY = 3  # of them, the first: before anything is committed
NUM_WITH_OWN_RAY = 5  # likewise: to a command that has started Ray itself
GRACE_S = 25.0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_killed_part_way_the_same_command_does_the_rest_and_rewrites_nothing(
    hundreds: Reference,
    ceph: Ceph,
    cluster: Cluster,
    run_location: str,
    tmp_path: Path,
    share: float,
) -> None:
    config = elsewhere(hundreds, run_location)
    command = start_command(config, tmp_path / "log", STEADY, ray_address=cluster.address)
    wait_for_commits(ceph, run_location, share * hundreds.num_shards)
    command.send(signal.SIGKILL)
    assert command.wait() == 128 + signal.SIGKILL
    wait_until(lambda: not worker_processes())  # the cluster ends what the driver had started
    committed = ceph.labels(run_location)
    assert share <= len(committed) / hundreds.num_shards < 1

    report = label(config)
    num_left = hundreds.num_shards - len(committed)
    assert report.num_images == num_left * config.shard_size
    assert committed.items() <= ceph.labels(run_location).items()
    require_sound(run_location, hundreds)


@pytest.mark.timeout(480)
def test_terminated_ten_times_a_run_loses_at_most_the_shards_in_hand(
    hundreds: Reference, ceph: Ceph, cluster: Cluster, run_location: str, tmp_path: Path
) -> None:
    config = elsewhere(hundreds, run_location)
    moments = random.Random(10)
    for number in range(SIGTERMS):
        committed, attempts = ceph.labels(run_location), num_attempts(ceph, run_location)
        ray_address = "" if number < NUM_WITH_OWN_RAY else cluster.address
        log = tmp_path / f"log-{number}"
        command = start_command(config, log, STEADY, ray_address=ray_address)
        if number < NUM_EARLY:
            time.sleep(moments.uniform(0.5, 8.0))
        else:
            wait_for_commits(ceph, run_location, len(committed) + moments.randint(1, 3))
        started = psutil.Process(command.process.pid).children(recursive=True)
        command.send(signal.SIGTERM)
        assert command.wait(GRACE_S) == TERMINATED, command.output
        num_tried = num_attempts(ceph, run_location) - attempts
        num_new = len(ceph.labels(run_location)) - len(committed)
        assert num_tried - num_new <= NUM_WORKERS
        assert "Traceback" not in command.output
        _, alive = psutil.wait_procs(started, timeout=10)
        assert not alive
        wait_until(lambda: not worker_processes())
    assert label(config).manifest is not None
    require_sound(run_location, hundreds)
