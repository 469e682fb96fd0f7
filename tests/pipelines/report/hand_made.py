"""A committed run whose every label a test has chosen."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.corpus.source import read_source
from pipelines.label.rows import error_row, label_row, shard_bytes
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import PlanSettings, TeacherRecord, load_plan
from possam_core.images.decode import ImageError, ImageErrorCode, decode_image
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.playground import PLAYGROUND
from tests.factories import CALIBRATED, make_segment

STUFF = {"sky", "grass"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of one image in a run."""

    ids: np.ndarray  # of segments; 0 is void
    names: Sequence[str]  # of the classes of segments 1, 2, ...
    score: float = 0.9  # of each segment
    unknown: Sequence[str] = ()  # what the model does not know of any segment


def halves(left: str, right: str, *, score: float = 0.9, unknown: Sequence[str] = ()) -> Labels:
    """Labels of a 64 x 48 image, half of it one thing and half another."""
    ids = np.ones((48, 64), np.int32)
    ids[:, 32:] = 2
    return Labels(ids=ids, names=(left, right), score=score, unknown=unknown)


def picture(number: int) -> bytes:
    """A plain image of 64 x 48 pixels, unlike the others: a plan drops what it has already."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (4 * number % 256, number % 256, 160)).save(stream, "PNG")
    return stream.getvalue()


def write_run(
    folder: Path,
    labels: Mapping[str, Labels | ImageError],
    *,
    classes: Sequence[str] = ("cat", "dog", "sky", "grass"),
    shard_size: int = 16,
    images: Path | None = None,
    teacher: TeacherRecord | None = None,
) -> str:
    """Commit these labels of images of those names; category ids are places in `classes`."""
    images = images or folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(labels):
        (images / name).write_bytes(picture(number))
    run = RunFolder(str(folder / "run"), create=True)
    vocabulary = PLAYGROUND.vocabulary
    settings = PlanSettings(
        images=str(images),
        model="the <model>",
        model_sha256="12",
        vocabulary="animals",
        vocabulary_sha256=vocabulary.fingerprint,
        shard_size=shard_size,
        teacher=teacher,
        calibrated=CALIBRATED,
    )
    frozen = FrozenVocabulary(vocabulary=vocabulary, is_seen=(True,) * len(vocabulary))
    freeze_plan(run, settings, read_source(str(images)), vocabulary=frozen)
    plan = load_plan(run)
    assert plan is not None
    for shard in range(plan.num_shards):
        rows = []
        for image in read_shard(run, shard):
            found = labels[Path(image.uri).name]
            if isinstance(found, ImageError):
                rows.append(error_row(image, found))
                continue
            decoded = decode_image(Path(image.uri).read_bytes())
            rows.append(label_row(image, decoded, _segmentation(found, classes)))
        provenance = {"plan_id": plan.plan_id, "shard": str(shard), "possam_version": "0.1.2"}
        run.commit(shard, shard_bytes(rows, provenance))
    return run.location


def _segmentation(labels: Labels, classes: Sequence[str]) -> PanopticSegmentation:
    geometry = areas_and_boxes(labels.ids)
    segments = tuple(
        make_segment(
            id=number,
            class_index=classes.index(name),
            category_id=1 + classes.index(name),
            category_name=name,
            is_thing=name not in STUFF,
            area_px=geometry[number].area_px,
            bbox_xywh=geometry[number].bbox_xywh,
            score=labels.score,
            **dict.fromkeys(labels.unknown),
        )
        for number, name in enumerate(labels.names, start=1)
    )
    return PanopticSegmentation(ids=labels.ids, segments=segments)


TRUNCATED = ImageError(ImageErrorCode.TRUNCATED, "it ends after 3 bytes")
