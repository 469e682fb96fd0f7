"""Checks, in a child process, that Ray starts and answers.

If a cluster does not answer, Ray waits for minutes and then ends the calling process.
"""

import json
import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

from pipelines.doctor.check import Check, shown_error
from possam_core.errors import ConfigError

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 15
CONNECT_TIMEOUT_S = 5
TASK_TIMEOUT_S = 30


def check_ray(are_gpus_wanted: bool) -> Check:
    """The cluster that a run would use runs a task and reports its resources.

    Raises:
        ConfigError: it does not answer.
    """
    address = os.environ.get("RAY_ADDRESS")
    if address and address != "auto":
        _require_open_port(address)
    resources = _try_in_child()
    where = f"the cluster at {address}" if address else "a private cluster"
    num_gpus = resources.get("GPU", 0)
    return Check(
        name="ray",
        verdict="warning" if are_gpus_wanted and not num_gpus else "ok",
        finding=f"{where} answers: {resources.get('CPU', 0):g} CPUs, {num_gpus:g} GPUs",
        remedy="start its nodes with their GPUs: ray start --num-gpus, or nvidia.com/gpu in the"
        " pod's resources",
    )


def _require_open_port(address: str) -> None:
    """Return only if something listens at `address`.

    Raises:
        ConfigError: nothing does, or a job does not accept this kind of address.
    """
    try:
        parts = urlsplit(f"//{address}")
        if "://" in address or not parts.hostname or parts.port is None:
            raise ConfigError(
                f"expected RAY_ADDRESS as host:port of the head node, got {address};"
                " name its GCS port, usually 6379, or unset it"
            )
        socket.create_connection((parts.hostname, parts.port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ConfigError(
            f"expected a cluster at RAY_ADDRESS {address}, but it cannot be reached"
            f" ({error.strerror or error}); start it, correct the address, or unset it"
        ) from error


def _try_in_child() -> dict[str, float]:
    child = subprocess.Popen(
        [sys.executable, "-m", __name__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        out, _ = child.communicate(timeout=START_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.terminate()  # lets Ray end what it has started
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
        raise ConfigError(
            f"expected Ray to answer, but it did not within {START_TIMEOUT_S} s; look at the logs"
            " in /tmp/ray/session_latest/logs"
        ) from None
    lines = out.decode(errors="replace").splitlines()
    if child.returncode or not lines:
        raise ConfigError(
            f"expected Ray to answer, but the trial ended with {child.returncode}; look at the"
            " logs in /tmp/ray/session_latest/logs"
        )
    answer: dict[str, float | str] = json.loads(lines[-1])
    if "error" in answer:
        raise ConfigError(
            f"expected Ray to start, but it failed ({answer['error']}); see that its version is"
            " the cluster's own, and that memory and shared memory are free"
        )
    return {name: float(number) for name, number in answer.items()}


def main() -> None:
    """The child: one task, then a line of JSON with the cluster's resources."""
    import ray

    from pipelines.ray_cluster import ray_cluster

    def add() -> int:
        return 40 + 2

    try:
        with ray_cluster(1, num_gpus=1):  # counts GPUs, needs none
            reply = ray.remote(num_cpus=0)(add).remote()
            assert ray.get(reply, timeout=TASK_TIMEOUT_S) == 42
            resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
            answer = {name: resources.get(name, 0.0) for name in ("CPU", "GPU")}
    except Exception as error:  # its message is the finding
        answer = {"error": shown_error(error)}
    sys.stdout.write(f"{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
