"""Panoptic quality on held-out images during training, split among the workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from possam_core.evaluation.measurement import annotation
from possam_core.evaluation.panoptic_quality import (
    PanopticQualityCounts,
    category_groups,
    count_matches,
    summarise,
    vocabulary_categories,
)
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.model import PosSAM
from possam_core.predictor import Predictor
from possam_core.training.data.labelled import GroundTruthImage, LabelledImages
from possam_core.training.evaluating import evaluating
from possam_core.training.stage import Evaluation
from possam_core.training.workers import Workers

BATCH_SIZE = 8


@dataclass(frozen=True, slots=True)
class ValidatedImage:
    """A held-out image with its truth and the prediction."""

    image: GroundTruthImage
    prediction: PanopticSegmentation


class Validation:
    """Held-out images at their own size, labelled as a user would."""

    def __init__(
        self,
        images: LabelledImages,
        *,
        num_images: int,
        num_examples: int = 4,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        """Measure on the first `num_images` of `images`, and show the first `num_examples`."""
        self.images = images
        self.num_images = min(num_images, len(images))
        self.num_examples, self.precision = num_examples, precision

    def measure(self, model: PosSAM, workers: Workers) -> Evaluation:
        """PQ in percent of all, things and stuff, and of seen and unseen classes if there are both.

        Every worker labels its share and gets the figures of all; only the first has examples.
        """
        counts, examples = PanopticQualityCounts(), list[ValidatedImage]()
        with evaluating(model):
            for example in self._label(model, workers.share(self.num_images)):
                truth = example.image.annotation(self.images.vocabulary)
                counts += count_matches(truth, annotation(example.prediction))
                if workers.is_first and len(examples) < self.num_examples:
                    examples.append(example)
        total = sum(workers.gather(counts), PanopticQualityCounts())
        is_seen = self.images.vocabulary.seen_in(model.card.training_names)
        categories = vocabulary_categories(self.images.vocabulary, is_seen)
        quality = summarise(total, category_groups(categories))
        return Evaluation({name: 100 * q.pq for name, q in quality.items()}, examples)

    def _label(self, model: PosSAM, indices: Sequence[int]) -> Iterator[ValidatedImage]:
        predictor = Predictor(model, self.images.vocabulary, precision=self.precision)
        for start in range(0, len(indices), BATCH_SIZE):
            images = [self.images.read(i) for i in indices[start : start + BATCH_SIZE]]
            yield from map(ValidatedImage, images, predictor([image.pixels for image in images]))
