"""Several runs of the same command at once."""

from pathlib import Path

from ray.cluster_utils import Cluster

from tests.chaos.ceph import Ceph
from tests.chaos.runs import (
    Reference,
    elsewhere,
    label,
    num_images_twice,
    require_sound,
    start_command,
    wait_for_commits,
)
from tests.chaos.stand_in import Orders


def test_two_runs_and_a_third_that_joins_label_each_image_once_and_tell_what_was_wasted(
    hundreds: Reference,
    ceph: Ceph,
    cluster: Cluster,
    run_location: str,
    tmp_path: Path,
) -> None:
    config = elsewhere(hundreds, run_location, num_workers=1)
    orders = Orders(seconds_an_image=0.05, markers=str(tmp_path))
    two = [
        start_command(config, tmp_path / f"log-{name}", orders, ray_address=cluster.address)
        for name in "ab"
    ]
    wait_for_commits(ceph, run_location, 0.5 * hundreds.num_shards)
    third = label(config, orders)
    assert [command.wait() for command in two] == [0, 0], [c.output for c in two]
    assert third.manifest is not None
    require_sound(run_location, hundreds)

    num_wasted = config.shard_size * len(list(tmp_path.glob("wasted-*")))
    counted = [num_images_twice(command.output) for command in two]
    assert sum(counted) + third.num_images_twice == num_wasted
