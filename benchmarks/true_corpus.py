"""Runs for benchmarks: the same few labelled pictures many times over, each under its own name."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image

from benchmarks.rle import make_ids
from pipelines.corpus.source import read_source
from pipelines.label.rows import Row, label_row, shard_bytes
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import PlanSettings, load_plan
from possam_core.evaluation.coco_panoptic import read_annotation, read_ground_truth
from possam_core.images.decode import decode_image
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.segmentation import PanopticSegmentation, Segment
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass

PHOTOGRAPHS = Path("../shared/data/coco128_train")
NUM_DRAWINGS = 16
DRAWING_HW, DRAWING_SEGMENTS = (480, 640), 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An image file and its labels."""

    data: bytes
    segmentation: PanopticSegmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The contents of the run, many times over."""

    kind: str
    vocabulary: Vocabulary
    images: tuple[Labelled, ...]


def make_corpus() -> Corpus:
    """The photographs with their truth, or pictures that are drawn."""
    return photographs() if PHOTOGRAPHS.is_dir() else drawings()


def photographs() -> Corpus:
    """The photographs with the labels of their annotators."""
    truth = read_ground_truth(PHOTOGRAPHS / "panoptic_train.json")
    vocabulary = Vocabulary(
        name="coco",
        classes=tuple(
            VocabularyClass(category_id=c.id, name=c.name, is_thing=c.is_thing)
            for c in truth.categories
        ),
    )
    images = []
    for seed, image in enumerate(truth.images):
        png = PHOTOGRAPHS / "panoptic" / image.png_path.name
        annotation = read_annotation(replace(image, png_path=png))
        images.append(
            Labelled(
                data=(PHOTOGRAPHS / "images" / image.file_name).read_bytes(),
                segmentation=segment(
                    annotation.ids, annotation.category_ids, vocabulary, seed=seed
                ),
            )
        )
    return Corpus(kind="photographs of COCO", vocabulary=vocabulary, images=tuple(images))


def drawings(image_hw: tuple[int, int] = DRAWING_HW) -> Corpus:
    """Smooth colours, and cells with wavering borders as things."""
    entries = (VocabularyClass(category_id=1, name="cell", is_thing=True),)
    vocabulary = Vocabulary(name="cells", classes=entries)
    rng = np.random.default_rng(0)
    images = []
    for seed in range(NUM_DRAWINGS):
        ids = make_ids(*image_hw, DRAWING_SEGMENTS, seed)
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize(image_hw[::-1]).save(stream, "JPEG", quality=95)
        category_ids = dict.fromkeys(np.unique(ids[ids > 0]).tolist(), 1)
        labels = segment(ids, category_ids, vocabulary, seed=seed)
        images.append(Labelled(data=stream.getvalue(), segmentation=labels))
    return Corpus(kind="drawings", vocabulary=vocabulary, images=tuple(images))


def segment(
    ids: ndarray, category_ids: Mapping[int, int], vocabulary: Vocabulary, *, seed: int
) -> PanopticSegmentation:
    """The labels of a map in the form of a model's, with varying scores."""
    places = {c.category_id: (i, c) for i, c in enumerate(vocabulary.classes)}
    rng = np.random.default_rng(seed)
    least = rng.random()
    segments = []
    for segment_id, geometry in areas_and_boxes(ids).items():
        class_index, entry = places[category_ids[segment_id]]
        segments.append(
            Segment(
                id=segment_id,
                class_index=class_index,
                category_id=entry.category_id,
                category_name=entry.name,
                is_thing=entry.is_thing,
                area_px=geometry.area_px,
                bbox_xywh=geometry.bbox_xywh,
                score=rng.uniform(least, 1),
                predicted_iou=rng.uniform(least, 1),
                margin=rng.uniform(least, 1),
                stability_score=rng.uniform(least, 1),
                entropy=rng.uniform(least, 1),
                clip_agrees=True,
                is_seen=True,
            )
        )
    return PanopticSegmentation(ids=ids, segments=tuple(segments))


def write_run(folder: Path, corpus: Corpus, num_images: int, *, shard_size: int) -> str:
    """A run of `num_images` labelled images below the empty `folder`; returns its location."""
    (folder / "images").mkdir()
    for number in range(num_images):
        # Bytes after the end of a JPEG are ignored, but make every image different.
        data = corpus.images[number % len(corpus.images)].data + number.to_bytes(4)
        (folder / "images" / f"{number:08d}.jpg").write_bytes(data)
    run = RunFolder(str(folder / "run"), create=True)
    settings = PlanSettings(
        images=str(folder / "images"),
        model="truth",
        model_sha256="0",
        vocabulary=corpus.vocabulary.name,
        vocabulary_sha256=corpus.vocabulary.fingerprint,
        shard_size=shard_size,
    )
    is_seen = (True,) * len(corpus.vocabulary)
    frozen = FrozenVocabulary(vocabulary=corpus.vocabulary, is_seen=is_seen)
    freeze_plan(run, settings, read_source(settings.images), vocabulary=frozen)
    plan = load_plan(run)
    assert plan is not None
    rng = np.random.default_rng(0)
    rows: dict[int, Row] = {}  # made once for each picture
    for shard in range(plan.num_shards):
        content = []
        for image in read_shard(run, shard):
            place = int(Path(image.uri).stem) % len(corpus.images)
            if place not in rows:
                labelled = corpus.images[place]
                decoded = decode_image(labelled.data)
                rows[place] = label_row(image, decoded, labelled.segmentation)
            identity = {"image_id": image.image_id, "uri": image.uri, "etag": image.etag}
            score = {"mean_score": rng.random()}  # otherwise many images would have equal scores
            content.append(rows[place] | identity | {"quality": rows[place]["quality"] | score})
        run.commit(shard, shard_bytes(content, {"plan_id": plan.plan_id, "shard": str(shard)}))
    return run.location
