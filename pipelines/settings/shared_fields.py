"""Settings that several jobs share, each described once.

precision: Precision = "float32"
"""

from typing import Annotated

from pipelines.storage.hosts import unless_a_host
from possam_core import arithmetic
from possam_core.settings import Setting

Model = Annotated[
    str,
    Setting(
        help="bundled name or path of a checkpoint; s3:// or hf:// if it was fetched",
        example="/models/possam-vit-b-head.safetensors",
    ),
]
NUMBER_FORMAT = "number format of the model's arithmetic"
Precision = Annotated[arithmetic.Precision, Setting(help=NUMBER_FORMAT)]
PlannedPrecision = Annotated[
    arithmetic.Precision | None,
    Setting(
        help=NUMBER_FORMAT,
        unset="the plan's; of a new one bfloat16 on GPUs and float32 on CPUs",
        example="bfloat16",
    ),
]
OneGpu = Annotated[
    int,
    Setting(
        title="GPUs of a worker",
        help="1: a GPU for each worker; 0: work on the CPU",
        ge=0,
        le=1,
        example=1,
    ),
]
AllowedHosts = Annotated[
    tuple[str, ...],
    Setting(
        title="Web hosts",
        help="host whose web addresses may be read",
        flag="--allowed-host",
        example="images.example.org",
        wanted_of=unless_a_host,
    ),
]
