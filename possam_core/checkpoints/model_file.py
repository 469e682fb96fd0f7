"""Model files: YAML that names the files of a model, relative to itself."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from possam_core.errors import CheckpointError, one_line

MODEL_FILE_SUFFIXES = (".yaml", ".yml")
TEACHER = "teacher"  # the key that names a model other than PosSAM
TRANSFORMERS = "transformers"  # its value for a folder of that library


def is_model_file(path: Path) -> bool:
    """Whether there is a file of that name, and its ending is YAML's."""
    return path.suffix in MODEL_FILE_SUFFIXES and path.is_file()


def read_model_file(path: Path) -> dict[str, Any]:
    """Its keys and values, whatever they are.

    Raises:
        CheckpointError: it is no YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(
            f"expected YAML in the model file {path}, but it cannot be read"
            f" ({one_line(error)}); mend it"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"expected names of files in the model file {path}, got {content!r}; see docs/model.md"
        )
    return content


def require_keys(path: Path, content: dict[str, Any], known: tuple[str, ...]) -> None:
    """Return only if all keys of a model file are known.

    Raises:
        CheckpointError: some are not.
    """
    if not set(content) <= set(known):
        raise CheckpointError(
            f"expected only {', '.join(known)} in the model file {path}, got"
            f" {', '.join(map(str, content))}; see docs/model.md"
        )


def named_file(path: Path, key: str, value: object) -> Path:
    """The file that the model file `path` names as `key`.

    Raises:
        CheckpointError: there is none.
    """
    if not isinstance(value, str):
        raise CheckpointError(
            f"expected the name of a file as {key} in the model file {path}, got {value!r}; correct"
            " it"
        )
    file = path.parent / value
    if not file.is_file():
        raise CheckpointError(
            f"expected a file at {file}, which {path} names as {key}, but there is none;"
            " correct the path, which is relative to the model file"
        )
    return file


def file_sha256(path: Path) -> str:
    """Of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
