"""Ray's Jobs API on a server that refuses requests, simulated by a list of statuses."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.ray_jobs.client import RayJobs
from possam_core.errors import PossamError
from tests.pipelines.clock import Clock


class Refusing(BaseHTTPRequestHandler):
    """Answers that there are no jobs, after the statuses in its list."""

    statuses: list[int]
    num_asked = 0

    def do_GET(self) -> None:
        if self.path.startswith("/api/version"):
            self.answer(
                200, {"version": "4", "ray_version": "2.0", "ray_commit": "", "session": ""}
            )
            return
        Refusing.num_asked += 1
        self.answer(self.statuses.pop(0) if self.statuses else 200, [])

    def answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cluster(clock: Clock) -> Iterator[RayJobs]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Refusing.statuses, Refusing.num_asked = [], 0
    yield RayJobs(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_cluster_that_is_busy_is_asked_again(cluster: RayJobs, clock: Clock, status: int) -> None:
    Refusing.statuses = [status, status]
    assert cluster.open_jobs() == {}
    assert Refusing.num_asked == 3
    assert len(clock.waits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_cluster_that_refuses_is_not_asked_again(
    cluster: RayJobs, clock: Clock, status: int
) -> None:
    Refusing.statuses = [status]
    with pytest.raises(PossamError, match="expected Ray's Jobs API to answer"):
        cluster.open_jobs()
    assert Refusing.num_asked == 1
    assert clock.waits == []


def test_a_cluster_that_is_busy_for_more_than_a_minute_is_named(
    cluster: RayJobs, clock: Clock
) -> None:
    Refusing.statuses = [429] * 200
    with pytest.raises(PossamError, match="status code 429"):
        cluster.open_jobs()
    assert 60.0 < clock.now <= 61.5
