"""One S3 server, one troubled network and one Ray cluster for all of the chaos."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.chaos.ceph import KEYS, Ceph, CephMissing, start_ceph
from tests.chaos.corpus import make_corpus
from tests.chaos.fault_proxy import FaultProxy, Faults, start_proxy
from tests.chaos.runs import Reference, make_reference

HERE = Path(__file__).parent
TIMEOUT_S = 480
NUM_CPUS = 3  # logical: workers of the cluster's first node
# A node is gone when it has refused five checks; one that is only slow has as long as ever.
CHECK_NODES_EVERY_MS = 1000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of this folder time for the fixtures that it may be the first to need."""
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder with a short name: sockets allow 107 characters."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def ceph(scratch: Path) -> Iterator[Ceph]:
    """A real S3 server."""
    try:
        with start_ceph(scratch / "ceph") as server:
            yield server
    except CephMissing as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def network(ceph: Ceph) -> Iterator[FaultProxy]:
    """The way to the server; the environment leads this process, and all that it starts, here."""
    with start_proxy(ceph.address, seed=1) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", proxy.address)
        for name, value in KEYS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield proxy


@pytest.fixture(autouse=True)
def calm(network: FaultProxy) -> Iterator[None]:
    """No test inherits the faults of another."""
    network.counts.clear()
    yield
    network.faults = Faults()


@pytest.fixture(scope="session")
def cluster(network: FaultProxy, scratch: Path) -> Iterator[Cluster]:
    """A private cluster of one node, to which a test may add others; this process has joined it."""
    nodes = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": NUM_CPUS,
            "node_ip_address": "127.0.0.2",  # Ray rewrites 127.0.0.1
            "include_dashboard": False,
            "object_store_memory": 128 * 2**20,
            "temp_dir": str(scratch / "ray"),
            "_system_config": {"health_check_period_ms": CHECK_NODES_EVERY_MS},
        },
    )
    ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.ERROR)
    yield nodes
    ray.shutdown()
    nodes.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def run_location(ceph: Ceph) -> str:
    """Where a run may go: a bucket of its own."""
    return f"s3://{ceph.make_bucket()}/run"


@pytest.fixture(scope="session")
def thousands(ceph: Ceph, cluster: Cluster) -> Reference:
    """2,000 images, and their undisturbed run of 40 shards."""
    return make_reference(ceph, make_corpus(2000), shard_size=50)


@pytest.fixture(scope="session")
def hundreds(ceph: Ceph, cluster: Cluster) -> Reference:
    """400 images, and their undisturbed run of 40 shards."""
    return make_reference(ceph, make_corpus(400), shard_size=10)
