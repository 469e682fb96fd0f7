"""`python -m flows.local`: a Prefect server of your own, with a worker and the deployments.

All files lie in build/prefect, apart from any other Prefect on the machine, and all processes end
on Ctrl-C. Only this machine reaches the address, without a password.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker
from rich.console import Console

from flows.labelling import GPU_LIMIT

ROOT = Path(__file__).resolve().parents[1]
DEPLOYMENTS = ROOT / "infra" / "prefect.yaml"
HOME = ROOT / "build" / "prefect"

HOST = "127.0.0.1"
USUAL_PORT = 4200
POOL = "possam-laptop"  # the names that DEPLOYMENTS use
DEPLOYMENT = "laptop"
NUM_GPU_JOBS = 1  # at once, on one machine

STARTS_WITHIN_S = 180.0
SERVER_ENDS_WITHIN_S = 10.0
WORKER_ENDS_WITHIN_S = 60.0  # a flow has 20 seconds to finish the shards in flight
LAST_LINES = 20


class DidNotStart(Exception):
    """A process did not start; the message holds the last lines of its log."""


def main() -> int:
    """Serve until Ctrl-C; the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with serving(HOME) as url:
            console.print(f"\nOpen [bold]{url}/deployments[/bold], and press Ctrl-C to stop.")
            signal.pause()
    except KeyboardInterrupt:
        console.print("stopped")
    except DidNotStart as error:
        console.print(str(error), markup=False)
        return 1
    return 0


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """A server with a worker and the deployments, while inside; its address.

    Args:
        home: folder of its database and logs; runs of earlier times are kept there.

    Raises:
        DidNotStart: one of the processes did not.
    """
    console = Console(stderr=True, highlight=False)
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://{HOST}:{port}"
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "DO_NOT_TRACK": "1",
    }
    with ExitStack() as stack:
        console.print("starting the server ...")
        server = ["server", "start", "--host", HOST, "--port", str(port)]
        process = stack.enter_context(
            _running(server, environment, home / "server.log", SERVER_ENDS_WITHIN_S)
        )
        _wait_for(url, process, home / "server.log")
        console.print("deploying the flows ...")
        _make_pool_and_limit(url)
        deploy = ["--prefect-file", str(DEPLOYMENTS), "--name", DEPLOYMENT]
        _run(["--no-prompt", "deploy", *deploy], environment, home / "deploy.log")
        worker = ["worker", "start", "--pool", POOL]
        stack.enter_context(
            _running(worker, environment, home / "worker.log", WORKER_ENDS_WITHIN_S)
        )
        yield url


def free_port() -> int:
    """The usual port if it is free, else any other."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as listener, suppress(OSError):
            # As servers do; else the port of one that has just ended counts as taken for a minute.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
            return int(listener.getsockname()[1])
    raise DidNotStart(f"expected a free port on {HOST}, found none; close some programs")


@contextmanager
def _running(
    arguments: list[str], environment: Mapping[str, str], log: Path, ends_within_s: float
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a `prefect` command while inside; it is killed if it does not end in time."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            _command(arguments),
            cwd=ROOT,
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends them in order
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(ends_within_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # and its children
                process.wait()


def _run(arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
    with log.open("wb") as stream:
        code = subprocess.call(
            _command(arguments), cwd=ROOT, env=environment, stdout=stream, stderr=stream
        )
    if code:
        raise DidNotStart(f"prefect {' '.join(arguments)} failed:\n{_last_lines(log)}")


def _make_pool_and_limit(url: str) -> None:
    """Create the pool and, if there is none yet, the limit, which its owner may have changed."""
    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template)
    settings = {PREFECT_API_URL: f"{url}/api"}
    with temporary_settings(updates=settings), get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)
        try:
            client.read_global_concurrency_limit_by_name(GPU_LIMIT)
        except ObjectNotFound:
            limit = GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=NUM_GPU_JOBS)
            client.create_global_concurrency_limit(limit)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(URLError, OSError), urlopen(f"{url}/api/health", timeout=2):
            return
        time.sleep(0.5)
    raise DidNotStart(f"expected a server at {url}, but it does not answer:\n{_last_lines(log)}")


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
