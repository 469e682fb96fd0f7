"""Published weights of the frozen encoders: where they are, how large, and what they hash to.

Nothing here downloads. `possam weights fetch` does, when it is asked to.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from possam_core.errors import CheckpointError

WEIGHTS_FOLDER = "POSSAM_WEIGHTS"  # environment variable


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """One file published by others."""

    name: str  # of the encoder: a key of `SAM_CONFIGS`, or an open_clip model
    part: str  # "sam" or "clip"
    file_name: str
    url: str
    size_bytes: int | None  # None where it is not known before fetching
    sha256: str
    licence: str


PUBLISHED: tuple[PublishedWeights, ...] = (
    PublishedWeights(
        name="vit_b",
        part="sam",
        file_name="sam_vit_b_01ec64.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
        size_bytes=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        licence="Apache-2.0",
    ),
    PublishedWeights(
        name="vit_l",
        part="sam",
        file_name="sam_vit_l_0b3195.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
        size_bytes=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        licence="Apache-2.0",
    ),
    PublishedWeights(
        name="vit_h",
        part="sam",
        file_name="sam_vit_h_4b8939.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        size_bytes=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        licence="Apache-2.0",
    ),
    PublishedWeights(
        name="mobile_sam",
        part="sam",
        file_name="mobile_sam.pt",
        url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        size_bytes=40_728_226,
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        licence="Apache-2.0",
    ),
    PublishedWeights(
        name="convnext_large_d_320",
        part="clip",
        file_name="open_clip_pytorch_model.bin",
        url=(
            "https://huggingface.co/laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup"
            "/resolve/main/open_clip_pytorch_model.bin"
        ),
        size_bytes=None,
        sha256="4572137af44b2e26f01f638337a59688ec289e9363e15c08dde16640afb86988",
        licence="MIT",
    ),
)

FC_CLIP_TOWER = "convnext_large_d_320"  # the CLIP that FC-CLIP's published head was trained on
FC_CLIP_HEAD = "fcclip_cocopan.pth"
# As FC-CLIP's README links it, row ConvNeXt-Large.
FC_CLIP_HEAD_URL = (
    "https://drive.google.com/uc?export=download&id=1-91PIns86vyNaL3CzMmDD39zKGnPMtvj"
)
FC_CLIP_HEAD_PAGE = "https://github.com/bytedance/fc-clip"
FC_CLIP_LICENCE = "head: none stated for the file, FC-CLIP's code is Apache-2.0; CLIP: MIT"


def weights_folder() -> Path:
    """`$POSSAM_WEIGHTS`, or the user's cache."""
    if chosen := os.environ.get(WEIGHTS_FOLDER):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "possam" / "weights"


def fetched_file(weights: PublishedWeights) -> Path:
    """Where `possam weights fetch` puts a file: published names alone are not unique."""
    return weights_folder() / weights.name / weights.file_name


def find_published(name: str) -> PublishedWeights:
    """The published file of that name, which must be one of `PUBLISHED`."""
    return next(w for w in PUBLISHED if w.name == name)


def find_by_sha256(sha256: str) -> PublishedWeights | None:
    """The published file of that content."""
    return next((w for w in PUBLISHED if w.sha256 == sha256), None)


def remote_file(address: str) -> Path:
    """Where `possam weights fetch` puts a checkpoint from `s3://` or `hf://`.

    Raises:
        CheckpointError: the address is of a whole folder, `hf://owner/name`.
    """
    parts = address.removeprefix("hf://").strip("/").split("/")
    if address.startswith("hf://") and len(parts) < 3:
        raise CheckpointError(
            f"expected a checkpoint such as hf://owner/name/file, got {address}, which is a folder;"
            f" if it is a model of transformers, run `hf download {'/'.join(parts)} --local-dir"
            f" {parts[-1]}` and name that folder"
        )
    folder = hashlib.sha256(address.encode()).hexdigest()[:16]
    return weights_folder() / "checkpoints" / folder / address.rstrip("/").rpartition("/")[2]
