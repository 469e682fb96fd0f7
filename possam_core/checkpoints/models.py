"""Models by their names: which files stand behind one, and what is known of it without its tensors.

Free of torch, so that commands which only plan start fast.
"""

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from possam_core.checkpoints.calibration_file import find_calibration
from possam_core.checkpoints.card import TeacherCard
from possam_core.checkpoints.fc_clip_file import FC_CLIP, FcClipFile, find_fc_clip
from possam_core.checkpoints.header import (
    LABELS,
    FrozenWeights,
    frozen_weights,
    read_header,
    unfit_header,
)
from possam_core.checkpoints.model_file import (
    file_sha256,
    is_model_file,
    named_file,
    read_model_file,
    require_keys,
)
from possam_core.checkpoints.published import (
    PUBLISHED,
    fetched_file,
    find_by_sha256,
    remote_file,
)
from possam_core.checkpoints.transformers_folder import TransformersFolder, find_transformers
from possam_core.errors import CheckpointError, PossamError, nearest
from possam_core.labels.calibration_set import CalibrationSet
from possam_core.vocabulary.vocabulary import Vocabulary

BUNDLED_LICENCE = "Apache-2.0"
SUFFIX = ".safetensors"
SET_SUFFIX = ".calibration-set.json"  # beside a bundled checkpoint whose header has none
REMOTE_SCHEMES = ("s3://", "hf://")
MODEL_FILE_KEYS = ("checkpoint", "sam", "clip")
OWN_TEACHER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
PART_NAMES = {"sam": "SAM", "clip": "CLIP"}


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


def named_models() -> tuple[str, ...]:
    """Every name that stands for a model: those of the package, and FC-CLIP as it was fetched."""
    return (*bundled_models(), FC_CLIP)


def resolve_model(model: str) -> ModelParts:
    """PosSAM's files behind a bundled name, a local path, `s3://` or `hf://`, in that order.

    Nothing is downloaded: a remote address means the copy that `possam weights fetch` made.

    A path is a checkpoint, or a model file: YAML that names a checkpoint and its frozen encoders,
    relative to itself. Encoders without a name are looked for beside the checkpoint and where
    `possam weights fetch` puts them.

    Raises:
        CheckpointError: something is missing; the message says what, and where it may come from.
    """
    if find_other(model) is not None:
        raise CheckpointError(
            f"expected a checkpoint of PosSAM, got {model}, which is another model; label and"
            " evaluate with it, or name a checkpoint"
        )
    if model in bundled_models():
        folder = resources.files(__package__)
        return ModelParts(checkpoint=Path(str(folder / f"{model}{SUFFIX}")))
    path = Path(model)
    if path.is_file():
        named = _named_files(path) if is_model_file(path) else {}
        return _with_encoders(named.pop("checkpoint", path), named)
    if model.startswith(REMOTE_SCHEMES):
        copy = remote_file(model)
        if not copy.is_file():
            raise CheckpointError(
                f"expected a copy of {model} at {copy}, but it was never fetched; run `possam"
                f" weights fetch {model}`"
            )
        return _with_encoders(copy, {})
    raise _no_model(model)


def find_other(model: str) -> FcClipFile | TransformersFolder | None:
    """The files behind the name or path of a model that is not PosSAM; None: it may be PosSAM.

    Raises:
        CheckpointError: something is wrong with them.
    """
    if model in bundled_models():
        return None
    if (calibration := find_calibration(model)) is not None:
        return find_other(calibration.model)
    return find_fc_clip(model) or find_transformers(model)


def require_model(model: str) -> None:
    """Return only if the files of a model are there.

    Raises:
        CheckpointError: as for `read_card`.
    """
    if not is_own_teacher(model) and find_other(model) is None:
        resolve_model(model)


def is_own_teacher(model: str) -> bool:
    """Whether `model` names code of the user's, as `module:function`."""
    return OWN_TEACHER.fullmatch(model) is not None


def model_fingerprint(model: str) -> str:
    """That of its card; of PosSAM, the sha256 of the checkpoint file."""
    return read_card(model).fingerprint


def read_card(model: str) -> TeacherCard:
    """What is known of a model without its tensors: from its header, or from its model file.

    Raises:
        CheckpointError: there is no such model, or its files do not belong together.
    """
    if (calibration := find_calibration(model)) is not None:
        return calibration.card(read_card(calibration.model))
    other = find_other(model)
    if other is not None:
        return other.read_card()
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
    if (calibration := find_calibration(model)) is not None:
        return dict(calibration.metrics["grades"])
    if find_other(model) is not None:
        return None
    path = resolve_model(model).checkpoint
    try:
        content = read_header(path)
        if content["inference"].get("calibration", {}).get("expected_pq") is None:
            return None
        grades: dict[str, dict[str, Any]] = content["metrics"]["calibration"]["grades"]
    except (KeyError, TypeError, AttributeError) as error:
        raise unfit_header(path, error) from error
    return grades


def _calibration_set(path: Path, header: dict[str, Any]) -> CalibrationSet | None:
    """What the grades of a calibrated checkpoint were measured with, where that was recorded."""
    if header["inference"].get("calibration", {}).get("expected_pq") is None:
        return None
    record = header["metrics"]["calibration"].get("set")
    beside = path.with_name(f"{path.stem}{SET_SUFFIX}")
    if record is None and path.stem in bundled_models() and beside.is_file():
        record = json.loads(beside.read_text())
    return None if record is None else CalibrationSet.from_json(record)


def _no_model(model: str) -> CheckpointError:
    encoder = next((w for w in PUBLISHED if w.name == model), None)
    if encoder is not None:
        return CheckpointError(
            f"expected a model that labels, got {model!r}, which is {PART_NAMES[encoder.part]}'s"
            f" encoder, one part of a model; {LABELS}"
        )
    hint = nearest(model, named_models(), otherwise="check the name or the path")
    return CheckpointError(
        f"expected a model's name ({', '.join(named_models())}), the path of a checkpoint, model"
        f" file or folder of transformers, an s3:// or hf:// address, or module:function, got"
        f" {model!r}; {hint}"
    )


def _named_files(path: Path) -> dict[str, Path]:
    content = read_model_file(path)
    require_keys(path, content, MODEL_FILE_KEYS)
    if "checkpoint" not in content:
        raise CheckpointError(
            f"expected 'checkpoint' in the model file {path}, got none; name the trained head"
        )
    return {key: named_file(path, key, value) for key, value in content.items()}


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
