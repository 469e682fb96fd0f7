"""The state of a training on disk: trained weights, the optimiser's moments, and progress."""

import io
import logging
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from possam_core.errors import CheckpointError
from possam_core.training.files import Folder
from possam_core.training.workers import Workers

logger = logging.getLogger(__name__)

ELSEWHERE = "start again in another output; weights beside it, as last.safetensors, stay usable"


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a stage has come."""

    step: int = 0  # steps done
    num_skipped: int = 0  # of those, how many were skipped
    num_skipped_in_a_row: int = 0
    best: dict[str, float] = field(default_factory=dict)  # figures of the best checkpoint


def save_state(
    folder: Folder,
    name: str,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write all that an exact resume needs; permanently frozen weights are left out."""
    stream = io.BytesIO()
    state = {
        "module": _learned(module, optimizer),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    torch.save(state, stream)
    folder.write(name, stream.getvalue())


def load_state(
    folder: Folder,
    name: str,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    workers: Workers,
) -> Progress:
    """Restore every worker from the state, or start at step 0 if there is none.

    Raises:
        CheckpointError: the file is damaged, or of another version or architecture.
    """
    data = workers.from_first(folder.read(name) if workers.is_first else None)
    if data is None:
        workers.align(module)
        return Progress()
    file = folder.full_name(name)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        module_state, done = state["module"], dict(state["progress"])
    except (pickle.UnpicklingError, EOFError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"expected the state of a training in {file}, but it is damaged; {ELSEWHERE}"
        ) from error
    if done.keys() != {f.name for f in fields(Progress)}:
        raise CheckpointError(
            f"expected the state of a training by this version in {file}, but an earlier version"
            f" wrote it, and it cannot be resumed; {ELSEWHERE}"
        )
    progress = Progress(**done)
    _require_fit(file, module_state, _learned(module, optimizer))
    module.load_state_dict(module_state, strict=False)
    optimizer.load_state_dict(state["optimizer"])
    workers.align(module)  # also the weights that the state leaves out
    if workers.is_first:
        logger.info("resumed %s at step %d", name, progress.step)
    return progress


def _learned(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Parameters that the optimiser has, and all buffers."""
    learned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    frozen = {name for name, p in module.named_parameters() if id(p) not in learned}
    return {name: t for name, t in module.state_dict().items() if name not in frozen}


def _require_fit(name: str, found: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    """Raise unless the tensors of a state are those of the module."""
    wrong = [f"{key} is missing or unexpected" for key in sorted(own.keys() ^ found.keys())]
    wrong += [
        f"{key} has the shape {list(found[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in found and found[key].shape != own[key].shape
    ]
    if wrong:
        raise CheckpointError(
            f"expected {name} to be of this architecture, but {wrong[0]}; start again in another"
            " folder, or use the network that it was written with"
        )
