"""Processes that serve a test, and waiting for what they do."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests

BIN = Path(sys.executable).parent


@contextmanager
def running(command, environment, log) -> Iterator[subprocess.Popen[bytes]]:
    """A process while inside; it is killed then, with all that it has started."""
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(url: str, *, status: tuple[int, ...] = (200,)) -> bool:
    try:
        return requests.get(url, timeout=2).status_code in status
    except requests.RequestException:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain"
        time.sleep(0.1)
