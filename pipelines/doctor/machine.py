"""Checks the machine on which a run starts."""

import os
import platform
import resource
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pipelines.doctor.check import Check
from possam_core.checkpoints.models import read_card
from possam_core.processes import default_workers, usable_cpus

SHOWN_LIBRARIES = ("torch", "ray", "pillow", "pyarrow", "obstore")
MEMORY_A_WORKER_BYTES = 2 * 2**30  # rounded up; a worker with possam-tiny takes 0.9 GB
MIN_FREE_BYTES = 2**30
FULL_DISK = 0.95  # above this, Ray refuses to spill objects
MIN_OPEN_FILES = 8192  # what Ray recommends
MEMORY_CGROUP = Path("/sys/fs/cgroup")
AGENT_TITLE = b"ray::"
RAYLET = "raylet"


def check_python() -> Check:
    """Python against the version that this distribution requires."""
    wanted, found = metadata("possam")["Requires-Python"], platform.python_version()
    is_fit = SpecifierSet(wanted).contains(found, prereleases=True)
    return Check(
        name="python",
        verdict="ok" if is_fit else "failed",
        finding=f"{found} at {sys.executable}, wanted {wanted}",
        remedy=f"make an environment with Python {wanted} and install possam there",
    )


def check_libraries() -> Check:
    """Each library against the lowest version that this distribution declares for labelling."""
    wanted = [r for r in map(Requirement, requires("possam") or []) if _applies(r)]
    unfit = [problem for requirement in wanted if (problem := _unfit(requirement))]
    shown = ", ".join(f"{name} {version(name)}" for name in SHOWN_LIBRARIES if not unfit)
    return Check(
        name="libraries",
        verdict="failed" if unfit else "ok",
        finding="; ".join(unfit) or f"{len(wanted)} as declared, among them {shown}",
        remedy="install the locked versions: make setup, or uv pip sync requirements.lock",
    )


def check_model(model: str) -> Check:
    """The model's files exist, and are those that were pinned; a plan records their sha256."""
    files = ", ".join(f"{name} (sha256 {sha})" for name, sha in read_card(model).files.items())
    return Check(name="model", verdict="ok", finding=f"{model} is {files}")


def check_memory() -> Check:
    """CPUs, and memory for the default number of workers."""
    num_cpus = usable_cpus()
    num_workers = default_workers(num_cpus)
    available = _available_bytes()
    is_fit = available >= num_workers * MEMORY_A_WORKER_BYTES
    fitting = max(1, available // MEMORY_A_WORKER_BYTES)
    return Check(
        name="CPUs and memory",
        verdict="ok" if is_fit else "warning",
        finding=f"{num_cpus} CPUs, so a run has {num_workers} at work by default;"
        f" {_gib(available)} of memory is free",
        remedy=f"free some memory, or label with --num-workers {fitting}",
    )


def check_gpu(is_wanted: bool) -> Check:
    """Whether torch can compute on a GPU; without one, a warning only if GPUs are wanted."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        assert torch.ones(8, device="cuda").sum().item() == 8
        finding = f"{len(names)}: {', '.join(names)}; CUDA {torch.version.cuda} of torch works"
        return Check(name="GPUs", verdict="ok", finding=finding)
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return Check(
        name="GPUs",
        verdict="warning" if is_wanted else "ok",
        finding=f"torch sees none ({build}); labels are made on CPUs",
        remedy="see that nvidia-smi answers here, that the container was given the GPUs and that"
        " torch was built for CUDA",
    )


def check_disk(purpose: str, folder: Path) -> Check:
    """Free space on the disk of `folder`, which need not exist yet."""
    usage = shutil.disk_usage(existing_part(folder))
    is_full = usage.free < MIN_FREE_BYTES
    is_nearly_full = usage.free < (1 - FULL_DISK) * usage.total
    return Check(
        name=f"disk of {purpose}",
        verdict="failed" if is_full else "warning" if is_nearly_full else "ok",
        finding=f"{_gib(usage.free)} of {_gib(usage.total)} are free at {folder}",
        remedy="free some space there, or choose another place"
        + (" with RAY_TMPDIR" if purpose == "temporary files" else ""),
    )


def temporary_folder() -> Path:
    """Where Ray keeps its sessions."""
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())


def existing_part(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def check_open_files() -> Check:
    """The hard limit, to which Ray itself raises the soft one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_fit = hard == resource.RLIM_INFINITY or hard >= MIN_OPEN_FILES
    return Check(
        name="open files",
        verdict="ok" if is_fit else "warning",
        finding=f"at most {soft:,}, which can be raised to"
        f" {'any number' if hard == resource.RLIM_INFINITY else f'{hard:,}'}",
        remedy=f"raise the hard limit to {MIN_OPEN_FILES:,} (ulimit -Hn, or LimitNOFILE of the"
        " service)",
    )


def check_leftovers() -> Check:
    """Ray's agents without their node's daemon: a killed driver leaves them running."""
    found = sorted(pid for folder in Path("/proc").iterdir() if (pid := _orphaned_agent(folder)))
    pids = " ".join(map(str, found))
    return Check(
        name="leftovers of Ray",
        verdict="warning" if found else "ok",
        finding=f"{len(found)} processes of clusters that are gone" if found else "none",
        remedy=f"end them: kill {pids}",
    )


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": "label"})


def _unfit(requirement: Requirement) -> str | None:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} {found}, wanted {requirement.specifier}"


def _available_bytes() -> int:
    """Free memory of the machine, or of the container if that has less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("MemAvailable:"))
    available = int(line.split()[1]) * 1024
    limit = MEMORY_CGROUP / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        used = int((MEMORY_CGROUP / "memory.current").read_text())
        available = min(available, int(text) - used)
    return max(0, available)


def _orphaned_agent(process: Path) -> int | None:
    """The process id, if it is an agent or worker of Ray without its node's daemon."""
    if not process.name.isdigit():
        return None
    try:
        if not (process / "cmdline").read_bytes().startswith(AGENT_TITLE):
            return None
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        if (process.parent / parent / "comm").read_text().strip() == RAYLET:
            return None
    except OSError:  # it ended meanwhile, or may not be read
        return None
    return int(process.name)


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB"
