"""What a model must give, checked before anything is computed from it: a user's code may give all.

Only kinds, shapes and devices are asked here, for which no device is waited for; the values are
asked with the choice of masks.

Axes: Q masks of an image, K classes, h w mask grid, H W pixels of the image.
"""

from typing import Any

import numpy as np
from torch import Tensor
from torch import bool as torch_bool

from possam_core.errors import TeacherError
from possam_core.labels.frame import Frame
from possam_core.labels.scored_masks import ScoredMasks


def misfit(
    masks: ScoredMasks, frame: Frame, *, image_hw: tuple[int, int], num_classes: int
) -> tuple[str, str] | None:
    """What was expected of a model's output for one image, and what came; None: it fits."""
    if (found := _misfit_of_kinds(masks, frame)) is not None:
        return found
    if frame.image_hw != image_hw:
        return f"masks for an image of {_by(image_hw)} pixels", f"some for {_by(frame.image_hw)}"
    if any(side > of for side, of in zip(frame.resized_hw, frame.canvas_hw, strict=True)):
        expected = f"an image on its canvas of {_by(frame.canvas_hw)} pixels"
        return expected, f"one that fills {_by(frame.resized_hw)} of it"
    logits, probs = masks.mask_logits, masks.class_probs
    if logits.dim() != 3 or (len(logits) and not logits[0].numel()):
        return "mask logits of masks x height x width", _by(logits.shape)
    if probs.shape != (len(logits), num_classes):
        expected = f"class probabilities of {len(logits)} masks x {num_classes} classes"
        return expected, _by(probs.shape)
    for name in ("void_probs", "iou_scores", "clip_agrees"):
        value = getattr(masks, name)
        if value is not None and value.shape != (len(logits),):
            return f"{name} of {len(logits)} masks", _by(value.shape)
    return None


def _misfit_of_kinds(masks: Any, frame: Any) -> tuple[str, str] | None:
    for value, wanted in ((masks, ScoredMasks), (frame, Frame)):
        if not isinstance(value, wanted):
            return f"a {wanted.__name__} in Proposals", _kind(value)
    for name in ("canvas_hw", "resized_hw", "image_hw"):
        sides = getattr(frame, name)
        if not (isinstance(sides, tuple) and len(sides) == 2 and all(map(_is_side, sides))):
            return f"height and width, a tuple of positive whole numbers, as {name}", repr(sides)
    for name, kind in (
        ("mask_logits", "real numbers"),
        ("class_probs", "real numbers"),
        ("void_probs", "real numbers"),
        ("iou_scores", "real numbers, or None,"),
        ("clip_agrees", "booleans, or None,"),
    ):
        value = getattr(masks, name)
        if value is None and kind.endswith(","):
            continue
        is_fit = isinstance(value, Tensor) and (
            value.dtype == torch_bool if name == "clip_agrees" else value.is_floating_point()
        )
        if not is_fit:
            return f"a tensor of {kind} as {name}", _kind(value)
        if value.device != masks.mask_logits.device:
            return f"{name} on the device of the mask logits", str(value.device)
    return None


def require_hard_masks(
    masks: Tensor, class_indices: Tensor, scores: Tensor, num_classes: int
) -> None:
    """Return only if masks, classes and scores of a detector are of one number, and usable.

    Raises:
        TeacherError: they are not.
    """
    wrong = _unfit_hard_masks(masks, class_indices, scores, num_classes)
    if wrong is not None:
        raise TeacherError(
            f"expected {wrong[0]} for Proposals.of_hard_masks, got {wrong[1]}; mend the call"
        )


def _unfit_hard_masks(
    masks: Any, class_indices: Any, scores: Any, num_classes: int
) -> tuple[str, str] | None:
    if not isinstance(masks, Tensor) or masks.dtype != torch_bool:
        return "boolean masks, a tensor", _kind(masks)
    if masks.dim() != 3:
        return "masks x height x width", f"masks of {_by(masks.shape)}"
    for name, value in (("classes", class_indices), ("scores", scores)):
        if not isinstance(value, Tensor):
            return f"a tensor of {name}", _kind(value)
        if value.shape != (len(masks),):
            return f"one of the {name} for each of {len(masks)} masks", _by(value.shape)
        if value.is_complex() or value.dtype == torch_bool:
            return f"numbers as {name}", _kind(value)
    if not len(masks):  # of no mask the kind of numbers is not known
        return None
    if class_indices.is_floating_point():
        return "classes as positions in the vocabulary, whole numbers", _kind(class_indices)
    least, most = (int(end) for end in class_indices.aminmax())
    if least < 0 or most >= num_classes:
        return f"classes from 0 to {num_classes - 1}", f"{least if least < 0 else most}"
    return None


def _is_side(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) > 0


def _kind(value: object) -> str:
    """The type of a value; of a tensor, that of its numbers."""
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def _by(sides: Any) -> str:
    return " x ".join(map(str, sides)) or "a single number"
