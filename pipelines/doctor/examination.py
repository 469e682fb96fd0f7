"""All checks, in the order in which a run needs what they examine."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipelines.doctor.check import Check, examine
from pipelines.doctor.corpus import check_images
from pipelines.doctor.machine import (
    check_disk,
    check_gpu,
    check_leftovers,
    check_libraries,
    check_memory,
    check_model,
    check_open_files,
    check_python,
    temporary_folder,
)
from pipelines.doctor.output import check_credentials, check_output
from pipelines.doctor.ray_trial import check_ray
from pipelines.storage.addresses import is_s3, normalise_location

LOCKED = "install the locked versions: make setup, or uv pip sync requirements.lock"


def run_doctor(
    *,
    output: str | None = None,
    images: str | None = None,
    allowed_hosts: Sequence[str] = (),
    model: str = "possam-tiny",
    are_gpus_wanted: bool = False,
) -> Iterator[Check]:
    """All checks, one after the other; each is yielded as soon as it is made.

    Args:
        output: run folder to check, which need not exist yet; None: none.
        images: corpus to check; None: none.
        allowed_hosts: hosts whose web addresses a manifest may name.
        model: name or path of a checkpoint or model file.
        are_gpus_wanted: warn if there is no GPU.

    Raises:
        ConfigError: an address is of a kind that a run does not accept.
    """
    output, images = (
        None if place is None else normalise_location(place) for place in (output, images)
    )
    yield examine("python", check_python, remedy=LOCKED)
    yield examine("libraries", check_libraries, remedy=LOCKED)
    yield examine("model", partial(check_model, model), remedy="see possam weights list")
    yield examine("CPUs and memory", check_memory, remedy="look at /proc/meminfo")
    yield examine("GPUs", partial(check_gpu, are_gpus_wanted), remedy="see that nvidia-smi answers")
    disks = {"temporary files": temporary_folder()}
    if output is not None and not is_s3(output):
        disks["the output"] = Path(output)
    for purpose, folder in disks.items():
        look = partial(check_disk, purpose, folder)
        yield examine(f"disk of {purpose}", look, remedy="choose another place")
    yield examine("open files", check_open_files, remedy="look at ulimit -n")
    yield examine("leftovers of Ray", check_leftovers, remedy="look at ps aux")
    yield examine("ray", partial(check_ray, are_gpus_wanted), remedy="look at ray status")
    if any(place is not None and is_s3(place) for place in (output, images)):
        yield examine("credentials", check_credentials, remedy="look at the AWS_* environment")
    if output is not None:
        yield from check_output(output)
    if images is not None:
        look = partial(check_images, images, allowed_hosts)
        yield examine("images", look, remedy="check the address, the network and the permissions")
