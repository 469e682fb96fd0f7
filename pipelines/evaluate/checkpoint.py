"""The evaluation job: a checkpoint and labelled images in, figures out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import Figures, ModelEvaluation
from pipelines.train.data import open_images
from possam_core.ahead import run_ahead
from possam_core.evaluation.measurement import Measurement, measure_image
from possam_core.labels.instances import ImageForms
from possam_core.predictor import load_teacher
from possam_core.teachers.teacher import Teacher
from possam_core.training.data.labelled import GroundTruthImage, LabelledImages

BATCH_SIZE = 8
READERS = 4  # threads


def _ignore_progress(_: int, __: int) -> None:
    pass


def evaluate_model(
    config: EvaluateConfig, *, on_images: Callable[[int, int], None] = _ignore_progress
) -> ModelEvaluation:
    """Label the images of the data in its vocabulary, and compare with the ground truth.

    Args:
        config: model and data.
        on_images: called with the number of images measured so far, and of all.

    Raises:
        PossamError: the model or the data cannot be used; the message names the file.
    """
    images = open_images(config.data)
    teacher = open_teacher(config, images)
    total = Measurement()
    for part in measure_images(teacher, images, range(len(images))):
        total += part
        on_images(len(total.images), len(images))
    return ModelEvaluation(
        model=config.model,
        fingerprint=teacher.fingerprint,
        data=config.data,
        calibration=teacher.calibration,
        figures=Figures(
            vocabulary=images.vocabulary,
            # Not known: no class counts as seen.
            is_seen=images.vocabulary.seen_in(teacher.card.training_names or ()),
            measurement=total,
        ),
    )


def open_teacher(config: EvaluateConfig, images: LabelledImages) -> Teacher:
    """The model, for the classes of `images`."""
    return load_teacher(
        config.model,
        images.vocabulary,
        device="cuda" if config.gpus_per_worker else "cpu",
        precision=config.precision,
    )


def measure_images(
    teacher: Teacher, images: LabelledImages, indices: Sequence[int]
) -> Iterator[Measurement]:
    """The measurement of each of some images; those of all images add up to the whole."""
    for index, image, forms in predict_images(teacher, images, indices):
        truth = image.annotation(images.vocabulary)
        yield measure_image(forms, truth, images.vocabulary, index=index, name=image.name)


def predict_images(
    teacher: Teacher, images: LabelledImages, indices: Sequence[int]
) -> Iterator[tuple[int, GroundTruthImage, ImageForms]]:
    """Each image with its index and the model's predictions; images are read ahead."""
    with ThreadPoolExecutor(READERS) as pool:
        numbered = zip(indices, run_ahead(pool, images.read, indices, BATCH_SIZE), strict=True)
        while batch := list(islice(numbered, BATCH_SIZE)):
            found = teacher.forms([image.pixels for _, image in batch])
            for (index, image), forms in zip(batch, found, strict=True):
                yield index, image, forms
