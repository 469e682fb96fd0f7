"""A machine of the cluster goes away, with the workers on it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from ray.cluster_utils import Cluster

from tests.chaos.ceph import Ceph
from tests.chaos.conftest import NUM_CPUS
from tests.chaos.runs import (
    Reference,
    elsewhere,
    label,
    require_sound,
    wait_for_commits,
    wait_until,
    worker_processes,
)
from tests.chaos.stand_in import Orders


@pytest.mark.parametrize(("share", "address"), [(0.25, "127.0.0.3"), (0.6, "127.0.0.4")])
def test_a_run_that_loses_a_node_ends_on_the_survivor(
    hundreds: Reference,
    ceph: Ceph,
    cluster: Cluster,
    run_location: str,
    share: float,
    address: str,
) -> None:
    node = cluster.add_node(
        num_cpus=1, node_ip_address=address, object_store_memory=80 * 2**20, wait=True
    )
    (raylet,) = node.all_processes["raylet"]

    def lose_the_node() -> None:
        wait_until(lambda: bool(worker_processes(raylet.process.pid)))
        wait_for_commits(ceph, run_location, share * hundreds.num_shards)
        assert worker_processes(raylet.process.pid)  # still at work
        cluster.remove_node(node, allow_graceful=False)

    # One worker more than the first node has room for, so that one is on the second.
    config = elsewhere(hundreds, run_location, num_workers=NUM_CPUS + 1)
    with ThreadPoolExecutor(1) as pool:
        loss = pool.submit(lose_the_node)
        report = label(config, Orders(seconds_an_image=0.05))
        loss.result()
    assert report.manifest is not None
    require_sound(run_location, hundreds)
