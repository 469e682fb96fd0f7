"""A real Prefect server and a real Ray cluster with its Jobs API, each started once."""

import os
import sys
from collections.abc import Iterator

import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from tests.flows.services import BIN, answers, free_port, running, wait_until

SERVER = "prefect.server.api.server:create_app"
STARTS_WITHIN_S = 120.0


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with a home of its own; this process and its children use it."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
        "DO_NOT_TRACK": "1",
    }
    with pytest.MonkeyPatch.context() as patch, (home / "server.log").open("wb") as log:
        for name, value in environment.items():
            patch.setenv(name, value)
        # What `prefect server start` runs, too, in a process more.
        command = [sys.executable, "-m", "uvicorn", "--factory", SERVER, "--port", str(port)]
        with running(command, os.environ, log):
            wait_until(lambda: answers(f"{url}/api/health"), STARTS_WITHIN_S)
            settings = {PREFECT_API_URL: f"{url}/api", PREFECT_HOME: home}
            with temporary_settings(updates=settings):
                yield url
                # Else they try on for a minute, when this process is to end.
                APILogWorker.drain_all()
                EventsWorker.drain_all()


@pytest.fixture(scope="session")
def ray_jobs(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the Jobs API of another private cluster, of four CPUs.

    `ray_cluster` comes first: it settles for this process whether Ray asks for a token.
    """
    ports = {
        "--port": free_port(),
        "--dashboard-port": free_port(),
        "--dashboard-agent-listen-port": free_port(),
        "--ray-client-server-port": free_port(),
        "--min-worker-port": 0,
        "--max-worker-port": 0,
    }
    options = {
        "--node-ip-address": "127.0.0.1",
        "--num-cpus": 4,
        "--object-store-memory": 128 * 2**20,
        "--temp-dir": f"/tmp/possam-head-{os.getpid()}",  # sockets allow 107 characters
        "--include-log-monitor": "false",
    }
    flags = [str(part) for option in (ports | options).items() for part in option]
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",  # whose Python the jobs run
        "OMP_NUM_THREADS": "1",
        "RAY_BACKEND_LOG_LEVEL": "fatal",
    }
    url = f"http://127.0.0.1:{ports['--dashboard-port']}"
    command = [BIN / "ray", "start", "--head", "--block", "--disable-usage-stats", *flags]
    with (
        (tmp_path_factory.mktemp("head") / "ray.log").open("wb") as log,
        running(command, environment, log),
    ):
        wait_until(lambda: answers(url, status=(200, 401)), STARTS_WITHIN_S)
        yield url
