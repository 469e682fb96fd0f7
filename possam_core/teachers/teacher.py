"""A teacher is anything that labels: masks with class probabilities in, panoptic labels out.

A subclass says what it is (`card`) and what it sees (`propose`). Everything after that is the same
for every model, PosSAM included: the merge, the calibration and the other forms of a result.

Axes: Q masks of an image, K classes, h w mask grid, H W pixels of an image.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from possam_core.checkpoints.card import TeacherCard
from possam_core.errors import TeacherError
from possam_core.images.batch import ImageBatch
from possam_core.labels.calibration import CalibrationConfig, calibrate, class_scores
from possam_core.labels.instances import ImageForms, find_instances, label_pixels
from possam_core.labels.mask_contest import Frame
from possam_core.labels.panoptic import MergeConfig, Merged, ScoredMasks, merge_masks
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary

SLACK = 1e-3  # by which rounding in half precision may take a probability out of [0, 1]
HARD_LOGIT = 16.0  # of a pixel inside a mask that is only inside or outside; outside it is minus it

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """The masks of one image with their classes, before any pixel is given to one of them.

    Example:
        >>> import torch
        >>> from possam_core import Proposals
        >>> masks = torch.tensor([[[True, False]], [[True, True]]])  # (Q, H, W), may overlap
        >>> scores, classes = torch.tensor([0.9, 0.6]), torch.tensor([0, 1])
        >>> found = Proposals.of_hard_masks(masks, classes, scores, num_classes=2)
        >>> found.frame.image_hw
        (1, 2)
    """

    masks: ScoredMasks
    frame: Frame  # where the image lies on the masks' canvas

    @classmethod
    def of_hard_masks(
        cls,
        masks: Bool[Tensor, "Q H W"],
        class_indices: Int64[Tensor, " Q"],
        scores: Float[Tensor, " Q"],
        *,
        num_classes: int,
    ) -> "Proposals":
        """Those of a detector: masks at the image's size, each with one class and its score.

        What such a model does not know stays unknown: margin, entropy, stability, predicted IoU.

        Args:
            masks: may overlap; the best score wins a pixel.
            class_indices: positions in the vocabulary.
            scores: in [0, 1].
            num_classes: of the vocabulary, K.
        """
        height, width = masks.shape[-2:]
        probs = torch.zeros(len(masks), num_classes, device=masks.device)
        probs[torch.arange(len(masks)), class_indices] = scores.float()
        return cls(
            masks=ScoredMasks(
                mask_logits=HARD_LOGIT * (2 * masks.float() - 1),
                class_probs=probs,
                void_probs=torch.zeros(len(masks), device=masks.device),
                iou_scores=None,
                clip_agrees=None,
                is_distribution=False,
                are_masks_soft=False,
            ),
            frame=Frame(
                canvas_hw=(height, width), resized_hw=(height, width), image_hw=(height, width)
            ),
        )


def frame_of(batch: ImageBatch, index: int) -> Frame:
    """Where an image of the batch lies on its canvas."""
    return Frame(
        canvas_hw=(batch.pixels.shape[-2], batch.pixels.shape[-1]),
        resized_hw=batch.resized_hw[index],
        image_hw=batch.image_hw[index],
    )


class Teacher(ABC):
    """A model with one vocabulary, ready to label images.

    Subclasses set `card` and `vocabulary`, and may set `merging` and `calibration`;
    docs/teachers.md has one in twenty lines.

    Example:
        >>> from possam_core import Teacher, load_teacher
        >>> isinstance(load_teacher("possam-tiny"), Teacher)
        True
    """

    card: TeacherCard
    vocabulary: Vocabulary
    merging = MergeConfig()  # which masks become segments
    calibration = CalibrationConfig()  # what was fitted on held-out images

    @abstractmethod
    def propose(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Iterable[Proposals]:
        """The masks of each upright RGB image, in order; a generator keeps one image in memory."""

    @property
    def fingerprint(self) -> str:
        """That of its card."""
        return self.card.fingerprint

    def __call__(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> list[PanopticSegmentation]:
        """Label upright RGB images of any sizes, in order.

        Raises:
            PossamError: there is no image, or one has no pixels.
            TeacherError: the model's output cannot be merged.
        """
        return self._each(images, self.label)

    def forms(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> list[ImageForms]:
        """Panoptic labels with instances and a class for every pixel; used by evaluation.

        Memory: 4 more bytes for each pixel of an image, times the number of classes plus 32.

        Raises:
            PossamError: there is no image, or one has no pixels.
            TeacherError: the model's output cannot be merged.
        """
        return self._each(images, self._forms)

    def uncalibrated(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> list[Merged]:
        """Labels before their scores are calibrated, with the masks they came from.

        Raises:
            PossamError: there is no image, or one has no pixels.
            TeacherError: the model's output cannot be merged.
        """
        return self._each(images, self.merged)

    def label(self, proposals: Proposals) -> PanopticSegmentation:
        """The labels of one image. Calibration comes last: only reported scores depend on it."""
        return self._calibrated(self.merged(proposals))

    def merged(self, proposals: Proposals) -> Merged:
        """The labels of one image before their scores are calibrated."""
        return merge_masks(
            proposals.masks,
            self.vocabulary,
            self.merging,
            is_seen=self.card.is_seen(self.vocabulary),
            frame=proposals.frame,
        )

    def _each(
        self,
        images: Sequence[UInt8[ndarray, "_ _ 3"]],
        finish: Callable[[Proposals], Result],
    ) -> list[Result]:
        results = list[Result]()
        with torch.inference_mode():
            proposed = self.propose(images)
            if not isinstance(proposed, Iterable):
                raise self._unfit("Proposals of each image", type(proposed).__name__)
            for proposals in proposed:
                if len(results) == len(images):
                    raise self._unfit(f"masks of {len(images)} images", "those of one more")
                if not isinstance(proposals, Proposals):
                    raise self._unfit("Proposals of each image", type(proposals).__name__)
                self._require_fit(proposals, images[len(results)])
                results.append(finish(proposals))
        if len(results) < len(images):
            raise self._unfit(f"masks of {len(images)} images", f"those of {len(results)}")
        return results

    def _calibrated(self, merged: Merged) -> PanopticSegmentation:
        return calibrate(merged, self.calibration, eta=self.merging.eta)

    def _forms(self, proposals: Proposals) -> ImageForms:
        merged = self.merged(proposals)
        return ImageForms(
            panoptic=self._calibrated(merged),
            class_scores=tuple(class_scores(merged, self.calibration).tolist()),
            instances=find_instances(
                merged.masks,
                self.vocabulary,
                eta=self.merging.eta,
                frame=proposals.frame,
                rules=self.merging.rules,
            ),
            class_indices=label_pixels(merged.masks, frame=proposals.frame),
        )

    def _require_fit(self, proposals: Proposals, image: ndarray) -> None:
        masks, num_classes = proposals.masks, len(self.vocabulary)
        if proposals.frame.image_hw != image.shape[:2]:
            height, width = proposals.frame.image_hw
            expected = f"masks for an image of {image.shape[0]} x {image.shape[1]} pixels"
            raise self._unfit(expected, f"some for {height} x {width}")
        num_masks = len(masks.mask_logits)
        if masks.class_probs.shape != (num_masks, num_classes):
            found = " x ".join(map(str, masks.class_probs.shape))
            expected = f"class probabilities of {num_masks} masks x {num_classes} classes"
            raise self._unfit(expected, found)
        shares = [masks.class_probs, masks.void_probs, masks.iou_scores]
        are_fit = [((s >= -SLACK) & (s <= 1 + SLACK)).all() for s in shares if s is not None]
        # All of it in one list: each number that is fetched by itself waits for a GPU by itself.
        if not all(torch.stack([*are_fit, masks.mask_logits.sum().isfinite()]).tolist()):
            raise self._unfit("finite mask logits and probabilities in [0, 1]", "others, or NaN")

    def _unfit(self, expected: str, found: str) -> TeacherError:
        return TeacherError(
            f"expected {expected} from the model {self.card.name}, got {found}; mend its propose()"
        )
