"""Training on a few labelled images until they are memorised, and their labels afterwards.

This tests matching, losses, coordinates and merge; it says nothing about other images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from pipelines.train.log import draw_example
from possam_core.evaluation.panoptic_quality import (
    PanopticQuality,
    PanopticQualityCounts,
    TrueCategory,
    category_groups,
    count_matches,
    summarise,
)
from possam_core.labels.frame import Frame
from possam_core.labels.merge_config import MergeConfig
from possam_core.labels.panoptic import merge
from possam_core.labels.scored_masks import ScoredMasks
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.model import PosSAM
from possam_core.predictor import Predictor
from possam_core.training.batches import ViewedImages
from possam_core.training.data.augment import AugmentConfig
from possam_core.training.data.feature_cache import FeatureCache, cache_key
from possam_core.training.data.labelled import GroundTruthImage
from possam_core.training.data.scenes import SceneBatch
from possam_core.training.files import LocalFolder
from possam_core.training.possam_stage import MaskTraining, train_possam
from possam_core.training.stage import Evaluation, LoopConfig, LoopReport
from possam_core.training.tiny.evaluate import annotation
from possam_core.training.validation import ValidatedImage
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary


class HeldImages:
    """A few labelled images in memory, as a data set."""

    def __init__(self, images: Sequence[GroundTruthImage], vocabulary: Vocabulary) -> None:
        self.images, self.vocabulary = tuple(images), vocabulary
        self.key = f"{[i.name for i in images]} {vocabulary.fingerprint}"

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> GroundTruthImage:
        """Image `index`."""
        return self.images[index]

    def batch(self, canvas: int) -> SceneBatch:
        """All of them in order, each whole on its canvas."""
        whole = AugmentConfig(min_scale=1.0, max_scale=1.0, flip=False)
        every = LoopConfig(num_steps=1, batch_size=len(self))
        batch = ViewedImages(self, whole, every, canvas=canvas).read(0, range(len(self)))
        return batch.select(np.argsort([source.index for source in batch.sources]).tolist())


class HeldBatches:
    """Batches of views that are made once, because reading and resizing them again is slower."""

    def __init__(self, views: SceneBatch, loop: LoopConfig) -> None:
        """Show all of `views` in a new order in every epoch."""
        self.views, self.loop = views, loop

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        """The images at `positions` of the batch of step `step`."""
        num_images = len(self.views.classes)
        rows = []
        for position in positions:
            epoch, place = divmod(step * self.loop.batch_size + position, num_images)
            order = np.random.default_rng((self.loop.seed, epoch)).permutation(num_images)
            rows.append(int(order[place]))
        return self.views.select(rows)


def memorise(
    model: PosSAM, text: TextEmbeddings, images: HeldImages, loop: LoopConfig, folder: Path
) -> LoopReport:
    """Train the head of `model` on the images by the mask stage; resumes from `folder`."""
    canvas = model.config.sam.image_size
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def evaluate() -> Evaluation:
        qualities = measure(images, label(model, text, images))
        return Evaluation({name: 100 * q.pq for name, q in qualities.items()})

    key = cache_key(model, images.key, canvas=canvas, precision=loop.precision)
    training = MaskTraining(
        vocabulary=images.vocabulary,
        batches=HeldBatches(images.batch(canvas), loop),
        loop=loop,
        text=text,
        cache=FeatureCache(folder, key=key, num_images=len(images)),
        evaluate=evaluate,
    )
    return train_possam(model, training, LocalFolder(folder))


def label(model: PosSAM, text: TextEmbeddings, images: HeldImages) -> list[PanopticSegmentation]:
    """The labels of the images at their own sizes, as users get them."""
    predictor = Predictor(model, images.vocabulary, text=text)
    return predictor([image.pixels for image in images.images])


def truth_on_grid(images: HeldImages, *, canvas: int, grid: int) -> list[PanopticSegmentation]:
    """The truth through a mask grid and the merge: close to the best that masks can reach."""
    batch, num_classes = images.batch(canvas), len(images.vocabulary)
    results = []
    for i, shares in enumerate(batch.masks(grid)):
        num_segments = len(shares)
        truth = ScoredMasks(
            mask_logits=20 * (shares - 0.5),  # zero where a segment covers half a cell
            class_probs=functional.one_hot(batch.classes[i], num_classes).float(),
            void_probs=torch.zeros(num_segments),
            iou_scores=torch.ones(num_segments),
            clip_agrees=torch.ones(num_segments, dtype=torch.bool),
        )
        results.append(
            merge(
                truth,
                images.vocabulary,
                MergeConfig(),
                is_seen=[True] * num_classes,
                frame=Frame(
                    canvas_hw=(canvas, canvas),
                    resized_hw=batch.images.resized_hw[i],
                    image_hw=batch.images.image_hw[i],
                ),
            )
        )
    return results


def measure(
    images: HeldImages, labels: Sequence[PanopticSegmentation]
) -> dict[str, PanopticQuality]:
    """PQ, SQ and RQ over all classes that occur, over things and over stuff."""
    counts = PanopticQualityCounts()
    for image, found in zip(images.images, labels, strict=True):
        counts += count_matches(image.annotation(images.vocabulary), annotation(found))
    categories = [
        TrueCategory(id=c.category_id, name=c.name, is_thing=c.is_thing)
        for c in images.vocabulary.classes
    ]
    return summarise(counts, category_groups(categories))


def contact_sheet(images: HeldImages, labels: Sequence[PanopticSegmentation]) -> Image.Image:
    """Each image, its truth and its labels, in rows of two."""
    strips = [
        Image.fromarray(draw_example(ValidatedImage(image, found), images.vocabulary))
        for image, found in zip(images.images, labels, strict=True)
    ]
    width, height = max(s.width for s in strips), max(s.height for s in strips)
    sheet = Image.new("RGB", (2 * width, -(-len(strips) // 2) * height), "white")
    for i, strip in enumerate(strips):
        sheet.paste(strip, (i % 2 * width, i // 2 * height))
    return sheet
