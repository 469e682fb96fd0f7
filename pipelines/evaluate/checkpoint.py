"""The evaluation job: a checkpoint and labelled images in, figures out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import Figures, ModelEvaluation
from pipelines.train.data import open_images
from possam_core.ahead import run_ahead
from possam_core.evaluation.measurement import Measurement, measure_image
from possam_core.labels.calibration_set import SeenImages, other_images, other_vocabulary
from possam_core.labels.instances import ImageForms
from possam_core.labels.quality import seen_measures
from possam_core.predictor import load_teacher
from possam_core.teachers.teacher import Teacher
from possam_core.training.data.labelled import GroundTruthImage, LabelledImages
from possam_core.vocabulary.vocabulary import Vocabulary

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
    total, seen = Measurement(), Counter[str]()
    for index, image, forms in predict_images(teacher, images, range(len(images))):
        total += _measure(index, image, forms, images.vocabulary)
        seen.update(seen_measures(forms.panoptic))
        on_images(len(total.images), len(images))
    return ModelEvaluation(
        model=config.model,
        fingerprint=teacher.fingerprint,
        data=config.data,
        calibration=teacher.calibration,
        uncalibrated=_why_uncalibrated(teacher, images.vocabulary, seen, len(total.images)),
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
        yield _measure(index, image, forms, images.vocabulary)


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


def _measure(
    index: int, image: GroundTruthImage, forms: ImageForms, vocabulary: Vocabulary
) -> Measurement:
    truth = image.annotation(vocabulary)
    return measure_image(forms, truth, vocabulary, index=index, name=image.name)


def _why_uncalibrated(
    teacher: Teacher, vocabulary: Vocabulary, sums: Mapping[str, float], num_images: int
) -> str | None:
    """Why the grades promise nothing for these classes and images; None: they do."""
    calibrated = teacher.card.calibrated
    reason = other_vocabulary(
        calibrated, vocabulary=vocabulary.name, vocabulary_sha256=vocabulary.fingerprint
    )
    if reason is not None or calibrated is None:
        return reason
    means = {name: total / num_images for name, total in sums.items()}
    return other_images(calibrated, SeenImages(num_images=num_images, means=means))
