"""Things that take seconds to make, made once."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from moto.server import ThreadedMotoServer
from playwright.sync_api import Browser

from tests.factories import write_checkpoint
from tests.pipelines.browser import chromium

# What `make quick` leaves out: tests that use a server, a cluster or a browser by a fixture, and
# those in places that start processes of their own, train, or measure.
SERVICES = {"s3_server", "ray_cluster", "prefect_server", "ray_jobs", "browser"}
SLOW_PLACES = (
    "tests/chaos/",
    "tests/flows/test_browser.py",
    "tests/pipelines/cli/test_demo.py",
    "tests/pipelines/doctor/",
    "tests/pipelines/evaluate/",
    "tests/pipelines/export/test_run.py",
    "tests/pipelines/label/test_careful.py",
    "tests/pipelines/probe/",
    "tests/pipelines/reader/test_torch_dataset.py",
    "tests/pipelines/train/",
    "tests/possam_core/test_predictor.py",
    "tests/possam_core/test_processes.py",
    "tests/possam_core/training/",
    "tests/test_ablation.py",
    "tests/test_benchmarks.py",
    "tests/test_notebooks.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs a service, by its fixtures, so that no test can be forgotten."""
    for item in items:
        uses_service = SERVICES & set(getattr(item, "fixturenames", ()))
        if uses_service or item.nodeid.startswith(SLOW_PLACES):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a stand-in for S3 that accepts any secret; the environment leads clients to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment["AWS_ENDPOINT_URL"]
    server.stop()


@pytest.fixture(scope="session")
def ray_cluster(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A private two-CPU cluster, whose workers inherit the address of `s3_server`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=128 * 2**20,
            _temp_dir=f"/tmp/possam-ray-{os.getpid()}",  # sockets allow 107 characters
        )
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; a skipped test where there is none."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a small untrained checkpoint."""
    return str(write_checkpoint(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a checkpoint with other weights."""
    return write_checkpoint(tmp_path_factory.mktemp("model") / "other.safetensors", seed=1)


def pytest_unconfigure() -> None:
    """Undo what `possam` does to a process that it has for itself."""
    gc.unfreeze()  # else compiled modules report all that is left at the end as leaks
