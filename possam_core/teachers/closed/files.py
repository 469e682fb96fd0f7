"""A closed-vocabulary teacher from a folder of the library transformers."""

from collections.abc import Iterable
from pickle import UnpicklingError
from typing import Any

import open_clip
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn

from possam_core.arithmetic import Precision
from possam_core.checkpoints.model_file import TRANSFORMERS
from possam_core.checkpoints.transformers_folder import SAFE, TransformersFolder
from possam_core.encoders.tensor_file import is_cut_off, value_fault, why_unreadable
from possam_core.errors import CheckpointError
from possam_core.extras import require
from possam_core.teachers.closed.image_input import read_image_input
from possam_core.teachers.closed.teacher import ClosedTeacher
from possam_core.vocabulary.vocabulary import Vocabulary

# Tensors of the loss and of OneFormer's text tower, which no label depends on.
TRAINING_ONLY = ("criterion.", "model.text_mapper.")
NUM_SHOWN = 3
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    ImportError,
    SafetensorError,
    StrictDataclassError,
    UnpicklingError,
)
TASK = "the task is panoptic"


def open_closed(
    folder: TransformersFolder,
    vocabulary: Vocabulary | None = None,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
) -> ClosedTeacher:
    """The teacher of a folder, for `vocabulary` or else the model's own classes.

    Raises:
        CheckpointError: the files are damaged, or do not hold every tensor of the network.
        VocabularyError: the vocabulary has other classes than the model.
        MissingExtraError: the library is not installed.
    """
    require("transformers", f"the model {folder.path.name}")
    card, image_input = folder.read_card(), read_image_input(folder)
    if vocabulary is not None:
        card.require_labelled(vocabulary)
    return ClosedTeacher(
        _load_network(folder).to(device),
        vocabulary or folder.vocabulary,
        card,
        outputs=folder.outputs,
        image_input=image_input,
        task=_task(folder) if folder.model_type == "oneformer" else None,
        precision=precision,
    )


def _load_network(folder: TransformersFolder) -> nn.Module:
    from transformers import AutoModelForUniversalSegmentation
    from transformers.utils import logging

    logging.set_verbosity_error()  # what it warns of is refused below
    logging.disable_progress_bar()
    changes = {"is_training": False} if folder.model_type == "oneformer" else {}
    try:
        network, found = AutoModelForUniversalSegmentation.from_pretrained(
            folder.path,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=any(file.name.startswith(SAFE) for file in folder.weights),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are listed, and refused below
            output_loading_info=True,
            **changes,
        )
    except UNREADABLE as error:
        raise CheckpointError(
            f"expected a model of the library {TRANSFORMERS} in {folder.path}, but it cannot be"
            f" loaded ({type(error).__name__}: {_reason(folder, error)}); download the whole folder"
        ) from error
    _require_all_tensors(folder, found)
    module: nn.Module = network.requires_grad_(False)
    _require_finite(folder, module)
    return module


def _reason(folder: TransformersFolder, error: Exception) -> str:
    broken = next((file for file in folder.weights if is_cut_off(file)), folder.weights[0])
    return why_unreadable(broken, error)


def _require_all_tensors(folder: TransformersFolder, found: dict[str, Any]) -> None:
    """The library fills what is missing with random numbers, and says so in a warning alone."""
    missing = _that_matter(found["missing_keys"])
    others = _that_matter(found["unexpected_keys"])
    misshapen = _that_matter(key for key, *_ in found["mismatched_keys"])
    faults = [
        f"{len(names)} {kind} ({', '.join(names[:NUM_SHOWN])})"
        for names, kind in ((missing, "missing"), (others, "unknown"), (misshapen, "misshapen"))
        if names
    ]
    if faults:
        raise CheckpointError(
            f"expected every tensor of the network and no others in the weights of {folder.path},"
            f" but {', '.join(faults)}; download the whole folder, or name another model"
        )


def _require_finite(folder: TransformersFolder, network: nn.Module) -> None:
    wrong = [name for name, weight in network.named_parameters() if value_fault(weight)]
    if wrong := _that_matter(wrong):
        raise CheckpointError(
            f"expected finite numbers in the weights of {folder.path}, but {len(wrong)} tensors"
            f" hold others ({', '.join(wrong[:NUM_SHOWN])}); download the whole folder"
        )


def _that_matter(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith(TRAINING_ONLY))


def _task(folder: TransformersFolder) -> Tensor:
    """The words that ask for panoptic labels, in CLIP's tokens."""
    length = int(folder.config.get("task_seq_len", 77))
    task: Tensor = open_clip.SimpleTokenizer(context_length=length)(TASK)[0]
    return task
