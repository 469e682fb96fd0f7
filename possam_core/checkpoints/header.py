"""Checkpoints as files: their names, their headers, and the frozen encoders that some need.

Free of torch, so that commands which only plan start fast. Tensors are the matter of `weights.py`.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open

from possam_core.checkpoints.card import TeacherCard
from possam_core.checkpoints.published import fetched_file, find_by_sha256, remote_file
from possam_core.errors import CheckpointError, PossamError, nearest, one_line
from possam_core.labels.calibration_set import CalibrationSet
from possam_core.vocabulary.vocabulary import Vocabulary

FORMAT_VERSION = 1
BUNDLED_LICENCE = "Apache-2.0"
HEADER_KEY = "possam"
SUFFIX = ".safetensors"
SET_SUFFIX = ".calibration-set.json"  # beside a bundled checkpoint whose header has none
REMOTE_SCHEMES = ("s3://", "hf://")
MODEL_FILE_SUFFIXES = (".yaml", ".yml")
MODEL_FILE_KEYS = ("checkpoint", "sam", "clip")
OWN_TEACHER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
PART_NAMES = {"sam": "SAM", "clip": "CLIP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenWeights:
    """A published encoder that a checkpoint was trained on and does not hold itself."""

    file_name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParts:
    """The files behind a model's name."""

    checkpoint: Path
    sam: Path | None = None  # None where the checkpoint holds its own
    clip: Path | None = None


def bundled_models() -> tuple[str, ...]:
    """Names of the checkpoints that ship in the package."""
    folder = resources.files(__package__)
    return tuple(
        sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX))
    )


def resolve_model(model: str) -> ModelParts:
    """The files behind a bundled name, a local path, `s3://` or `hf://`, in that order.

    Nothing is downloaded: a remote address means the copy that `possam weights fetch` made.

    A path is a checkpoint, or a model file: YAML that names a checkpoint and its frozen encoders,
    relative to itself. Encoders without a name are looked for beside the checkpoint and where
    `possam weights fetch` puts them.

    Raises:
        CheckpointError: something is missing; the message says what, and where it may come from.
    """
    bundled = bundled_models()
    if model in bundled:
        folder = resources.files(__package__)
        return ModelParts(checkpoint=Path(str(folder / f"{model}{SUFFIX}")))
    path = Path(model)
    if path.is_file():
        named = _read_model_file(path) if path.suffix in MODEL_FILE_SUFFIXES else {}
        return _with_encoders(named.pop("checkpoint", path), named)
    if model.startswith(REMOTE_SCHEMES):
        copy = remote_file(model)
        if not copy.is_file():
            raise CheckpointError(
                f"expected a copy of {model} at {copy}, but it was never fetched; run `possam"
                f" weights fetch {model}`"
            )
        return _with_encoders(copy, {})
    hint = nearest(model, bundled, otherwise="check the name or the path")
    raise CheckpointError(
        f"expected a bundled model ({', '.join(bundled)}), the path of a checkpoint or model file,"
        f" or an s3:// or hf:// address, got {model!r}; {hint}"
    )


def is_own_teacher(model: str) -> bool:
    """Whether `model` names code of the user's, as `module:function`."""
    return OWN_TEACHER.fullmatch(model) is not None


def model_fingerprint(model: str) -> str:
    """sha256 of the checkpoint file, which names the content of its encoders in turn."""
    return file_sha256(resolve_model(model).checkpoint)


def read_card(model: str) -> TeacherCard:
    """What is known of a model, from its header alone."""
    path = resolve_model(model).checkpoint
    header = read_header(path)
    try:
        record = header["vocabulary"]
        vocabulary = Vocabulary.from_records(record["name"], record["classes"])
        training_names = tuple(map(str, header["training_names"]))
        calibrated = _calibration_set(path, header)
    except (KeyError, TypeError, PossamError) as error:
        raise unfit_header(path, error) from error
    sha256 = file_sha256(path)  # it names the content of its encoders in turn
    encoders = {part.file_name: part.sha256 for part in frozen_weights(header).values()}
    return TeacherCard(
        name=Path(model).stem,
        fingerprint=sha256,
        licence=BUNDLED_LICENCE if model in bundled_models() else None,
        files={path.name: sha256, **encoders},
        training_names=training_names,
        vocabulary=vocabulary,
        calibrated=calibrated,
    )


def promised_grades(model: str) -> dict[str, dict[str, Any]] | None:
    """What each grade was worth when the checkpoint was calibrated, from its header alone.

    By grade, `images`, `pq` of all of them together, and means over images of their own
    `image_pq` and of the `expected_pq`; None: it was not calibrated.
    """
    path = resolve_model(model).checkpoint
    try:
        content = read_header(path)
        if content["inference"].get("calibration", {}).get("expected_pq") is None:
            return None
        grades: dict[str, dict[str, Any]] = content["metrics"]["calibration"]["grades"]
    except (KeyError, TypeError, AttributeError) as error:
        raise unfit_header(path, error) from error
    return grades


def read_header(path: Path) -> dict[str, Any]:
    """The JSON beside the tensors.

    Raises:
        CheckpointError: the file is damaged, something else, or of another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            content: dict[str, Any] = json.loads((file.metadata() or {})[HEADER_KEY])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"expected a PosSAM checkpoint at {path}, but it cannot be read as one"
            f" ({type(error).__name__}: {error}); copy it again or name another"
        ) from error
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"expected checkpoint format {FORMAT_VERSION} in {path}, got {version}; install the"
            " matching version of possam"
        )
    return content


def frozen_weights(header: dict[str, Any]) -> dict[str, FrozenWeights]:
    """By part, the published encoders that the checkpoint needs; none where it holds them."""
    return {part: FrozenWeights(**record) for part, record in header.get("frozen", {}).items()}


def unfit_header(path: Path, error: Exception) -> CheckpointError:
    """What is said of a header that does not describe a model of this version."""
    return CheckpointError(
        f"expected the header of {path} to describe a model of this version, but it does not"
        f" ({error}); install the version of possam that wrote it"
    )


def file_sha256(path: Path) -> str:
    """Of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _calibration_set(path: Path, header: dict[str, Any]) -> CalibrationSet | None:
    """What the grades of a calibrated checkpoint were measured with, where that was recorded."""
    if header["inference"].get("calibration", {}).get("expected_pq") is None:
        return None
    record = header["metrics"]["calibration"].get("set")
    beside = path.with_name(f"{path.stem}{SET_SUFFIX}")
    if record is None and path.stem in bundled_models() and beside.is_file():
        record = json.loads(beside.read_text())
    return None if record is None else CalibrationSet.from_json(record)


def _read_model_file(path: Path) -> dict[str, Path]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(
            f"expected YAML in the model file {path}, but it cannot be read"
            f" ({one_line(error)}); mend it"
        ) from error
    if not isinstance(content, dict) or not set(content) <= set(MODEL_FILE_KEYS):
        given = ", ".join(map(str, content)) if isinstance(content, dict) else repr(content)
        raise CheckpointError(
            f"expected only {', '.join(MODEL_FILE_KEYS)} in the model file {path}, got {given};"
            " see docs/model.md"
        )
    if "checkpoint" not in content:
        raise CheckpointError(
            f"expected 'checkpoint' in the model file {path}, got none; name the trained head"
        )
    files = {key: path.parent / str(value) for key, value in content.items()}
    for key, file in files.items():
        if not file.is_file():
            raise CheckpointError(
                f"expected a file at {file}, which {path} names as {key}, but there is none;"
                " correct the path, which is relative to the model file"
            )
    return files


def _with_encoders(checkpoint: Path, named: dict[str, Path]) -> ModelParts:
    needed = frozen_weights(read_header(checkpoint))
    if superfluous := sorted(set(named) - set(needed)):
        raise CheckpointError(
            f"expected no {' and no '.join(superfluous)} weights beside {checkpoint}, which holds"
            " its own; leave them out"
        )
    found = {
        part: named.get(part) or _find_encoder(part, wanted, checkpoint)
        for part, wanted in needed.items()
    }
    return ModelParts(checkpoint=checkpoint, **found)


def _find_encoder(part: str, wanted: FrozenWeights, checkpoint: Path) -> Path:
    published = find_by_sha256(wanted.sha256)
    places = [checkpoint.parent / wanted.file_name]
    if published:
        places.append(fetched_file(published))
    for place in places:
        if place.is_file():
            return place
    how = (
        f"run `possam weights fetch {published.name}`"
        if published
        else "copy it there or name it in a model file"
    )
    raise CheckpointError(
        f"expected the {PART_NAMES[part]} weights that {checkpoint} needs at"
        f" {' or '.join(map(str, places))}, but there are none; {how}"
    )
