"""A teacher is anything that labels: masks with class probabilities in, panoptic labels out.

A subclass says what it is (`card`) and what it sees (`propose`). Everything after that is the same
for every model, PosSAM included: the merge, the calibration and the other forms of a result.

Axes: Q masks of an image, K classes, h w mask grid, H W pixels of an image.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from possam_core.checkpoints.card import TeacherCard
from possam_core.errors import TeacherError
from possam_core.images.batch import ImageBatch, ResizedImage
from possam_core.labels.calibration import CalibrationConfig, calibrate, class_scores
from possam_core.labels.frame import Frame
from possam_core.labels.instances import ImageForms, find_instances, label_pixels
from possam_core.labels.kept_masks import MaskChoice
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import Merged, merge_kept
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.teachers.fit import misfit, require_hard_masks
from possam_core.vocabulary.vocabulary import Vocabulary

HARD_LOGIT = 16.0  # of a pixel inside a mask that is only inside or outside; outside it is minus it

Result = TypeVar("Result")
# An upright RGB image, or what `Teacher.prepare` made of it.
Picture = UInt8[ndarray, "_ _ 3"] | ResizedImage


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

        Raises:
            TeacherError: they are not boolean masks with one class and one score each.
        """
        require_hard_masks(masks, class_indices, scores, num_classes)
        height, width = masks.shape[-2:]
        probs = torch.zeros(len(masks), num_classes, device=masks.device)
        probs[torch.arange(len(masks)), class_indices.long()] = scores.float()
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
    how = ""  # it computes, for people: on which device, in which numbers

    @abstractmethod
    def propose(self, images: Sequence[Any]) -> Iterable[Proposals]:
        """The masks of each upright RGB image, in order; a generator keeps one image in memory.

        Args:
            images: arrays (H, W, 3) of uint8, or what `prepare` made of them.
        """

    def prepare(self, image: UInt8[ndarray, "_ _ 3"]) -> Picture:
        """Work on one image that needs no device, which the job leaves to the threads that decode.

        A subclass whose `propose` takes resized images may resize here; this one changes nothing.
        """
        return image

    @property
    def fingerprint(self) -> str:
        """That of its card."""
        return self.card.fingerprint

    def __call__(self, images: Sequence[Picture]) -> list[PanopticSegmentation]:
        """Label upright RGB images of any sizes, in order.

        Raises:
            PossamError: there is no image, or one has no pixels.
            TeacherError: the model's output cannot be merged.
        """
        return self.begin(images)()

    def begin(self, images: Sequence[Picture]) -> Callable[[], list[PanopticSegmentation]]:
        """Start to label images, prepared or not, and return what waits for their labels.

        On an accelerator the next images may be begun before those are asked for, so that it never
        idles. On a CPU all is done at once.

        Raises:
            PossamError: there is no image, or one has no pixels.
            TeacherError: the model's output cannot be merged; the function that is returned raises
                it, too.
        """
        return self._begin(images, self._calibrated)

    def forms(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> list[ImageForms]:
        """Panoptic labels with instances and a class for every pixel; used by evaluation.

        Memory: 4 more bytes for each pixel of an image, times the number of classes plus 32.

        Raises:
            PossamError: there is no image, or one has no pixels.
            TeacherError: the model's output cannot be merged.
        """
        return self._begin(images, self._forms)()

    def uncalibrated(self, images: Sequence[UInt8[ndarray, "_ _ 3"]]) -> list[Merged]:
        """Labels before their scores are calibrated, with the masks they came from.

        Raises:
            PossamError: there is no image, or one has no pixels.
            TeacherError: the model's output cannot be merged.
        """
        return self._begin(images, lambda merged, _: merged)()

    def label(self, proposals: Sequence[Proposals]) -> list[PanopticSegmentation]:
        """The labels of each image. Calibration comes last: only reported scores depend on it."""
        return [self._calibrated(merged, p.frame) for merged, p in self._merge(proposals)()]

    def _begin(
        self,
        images: Sequence[Picture],
        finish: Callable[[Merged, Frame], Result],
    ) -> Callable[[], list[Result]]:
        """Launch the work of all images; those on a CPU are finished one by one, at once."""
        done, begun = list[Result](), list[Proposals]()
        with torch.inference_mode():
            for proposals in self._proposed(images):
                begun.append(proposals)
                if proposals.masks.mask_logits.device.type == "cpu":
                    done += [finish(m, p.frame) for m, p in self._merge(begun)()]
                    begun.clear()
            merge = self._merge(begun) if begun else list

        def rest() -> list[Result]:
            with torch.inference_mode():
                return done + [finish(m, p.frame) for m, p in merge()]

        return rest

    def _proposed(self, images: Sequence[Picture]) -> Iterator[Proposals]:
        """What the model proposes for each image, if it fits."""
        proposed, number = self.propose(images), 0
        if not isinstance(proposed, Iterable):
            raise self._unfit("Proposals of each image", type(proposed).__name__)
        for proposals in proposed:
            if number == len(images):
                raise self._unfit(f"masks of {len(images)} images", "those of one more")
            if not isinstance(proposals, Proposals):
                raise self._unfit("Proposals of each image", type(proposals).__name__)
            self._require_fit(proposals, images[number])
            number += 1
            yield proposals
        if number < len(images):
            raise self._unfit(f"masks of {len(images)} images", f"those of {number}")

    def _merge(
        self, proposals: Sequence[Proposals]
    ) -> Callable[[], list[tuple[Merged, Proposals]]]:
        """Launch the choice of masks; what is returned merges them, image by image."""
        of_images = tuple(proposals)
        choice = MaskChoice(
            [p.masks for p in of_images], [p.frame for p in of_images], self.merging
        )

        def finish() -> list[tuple[Merged, Proposals]]:
            if not choice.are_fit:
                raise self._unfit(
                    "finite mask logits and probabilities in [0, 1]", "others, or NaN"
                )
            is_seen = self.card.is_seen(self.vocabulary)
            return [
                (
                    merge_kept(p.masks, kept, self.vocabulary, self.merging, is_seen=is_seen),
                    p,
                )
                for p, kept in zip(of_images, choice.keep(), strict=True)
            ]

        return finish

    def _calibrated(self, merged: Merged, _frame: Frame) -> PanopticSegmentation:
        return calibrate(merged, self.calibration, eta=self.merging.eta)

    def _forms(self, merged: Merged, frame: Frame) -> ImageForms:
        return ImageForms(
            panoptic=self._calibrated(merged, frame),
            class_scores=tuple(class_scores(merged, self.calibration).tolist()),
            instances=find_instances(
                merged.masks,
                self.vocabulary,
                eta=self.merging.eta,
                frame=frame,
                rules=self.merging.rules,
            ),
            class_indices=label_pixels(merged.masks, frame=frame),
        )

    def _require_fit(self, proposals: Proposals, image: Picture) -> None:
        height, width = image.image_hw if isinstance(image, ResizedImage) else image.shape[:2]
        wrong = misfit(
            proposals.masks,
            proposals.frame,
            image_hw=(height, width),
            num_classes=len(self.vocabulary),
        )
        if wrong is not None:
            raise self._unfit(*wrong)

    def _unfit(self, expected: str, found: str) -> TeacherError:
        return TeacherError(
            f"expected {expected} from the model {self.card.name}, got {found}; mend its propose()"
        )
