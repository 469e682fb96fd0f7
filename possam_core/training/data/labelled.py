"""Images with ground truth, for training and evaluation.

Axes: H W pixels of the image.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Int32, UInt8
from numpy import ndarray

from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.playground import PLAYGROUND, World, generate_scene
from possam_core.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthImage:
    """One image and its true segments."""

    name: str  # for messages
    pixels: UInt8[ndarray, "H W 3"]
    ids: Int32[ndarray, "H W"]  # 0 is void, else 1 to the number of segments
    class_indices: tuple[int, ...]  # of segment id i at i - 1, in the vocabulary of its source
    crowds: frozenset[int] = frozenset()  # segment ids that cover many instances

    def annotation(self, vocabulary: Vocabulary) -> PanopticAnnotation:
        """The truth in the form that predictions are compared with."""
        ids = enumerate((vocabulary.classes[c].category_id for c in self.class_indices), start=1)
        return PanopticAnnotation(ids=self.ids, category_ids=dict(ids), crowd_ids=self.crowds)


@runtime_checkable
class LabelledImages(Protocol):
    """A data set; reading is safe from many threads."""

    vocabulary: Vocabulary  # class indices are positions in it
    key: str  # changes with the content

    def __len__(self) -> int: ...

    def read(self, index: int) -> GroundTruthImage:
        """Image `index`, from 0 on.

        Raises:
            GroundTruthError: the image or its truth is missing, damaged or contradictory.
        """


class EveryOther:
    """Half of a data set: its images 0, 2, 4, ..., or 1, 3, 5, ..."""

    def __init__(self, images: LabelledImages, *, first: Literal[0, 1]) -> None:
        """Take every other one of `images`, from the one at `first` on."""
        self._images, self._first = images, first
        self.vocabulary = images.vocabulary
        self.key = f"{images.key} {first}::2"

    def __len__(self) -> int:
        return (len(self._images) + 1 - self._first) // 2

    def read(self, index: int) -> GroundTruthImage:
        """Image `index` of the half."""
        return self._images.read(self._first + 2 * index)


class PlaygroundImages:
    """A world's scenes, drawn on demand; the same seed and index give the same scene."""

    def __init__(
        self, *, seed: int, num_scenes: int, vocabulary: Vocabulary, world: World = PLAYGROUND
    ) -> None:
        """Show the classes of `vocabulary`, the world's or some of them."""
        self.seed, self.num_scenes, self.vocabulary = seed, num_scenes, vocabulary
        self.world = world
        self.key = f"{world.name} {seed} {num_scenes} {vocabulary.fingerprint}"
        self._shown = frozenset(c.name for c in vocabulary.classes)
        names = [c.name for c in world.vocabulary.classes]
        self._class_index = {
            i: vocabulary.class_index(name) for i, name in enumerate(names) if name in self._shown
        }

    def __len__(self) -> int:
        return self.num_scenes

    def read(self, index: int) -> GroundTruthImage:
        """Scene `index` of the seed."""
        scene = generate_scene(self.seed, index, class_names=self._shown, world=self.world)
        return GroundTruthImage(
            name=f"scene {index} of seed {self.seed}",
            pixels=scene.image,
            ids=scene.ids,
            class_indices=tuple(self._class_index[c] for c in scene.class_indices),
        )
