"""Settings that several jobs share, each described once.

precision: Precision = "float32"
"""

from typing import Annotated, Literal

from pipelines.storage.hosts import unless_a_host
from possam_core.settings import Setting

Model = Annotated[
    str,
    Setting(
        help="bundled name or path of a checkpoint; s3:// or hf:// if it was fetched",
        example="/models/possam-vit-b-head.safetensors",
    ),
]
Precision = Annotated[
    Literal["float32", "bfloat16"], Setting(help="number format of the model's arithmetic")
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
