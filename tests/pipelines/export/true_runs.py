"""Runs whose labels are ground truth in COCO panoptic format, made by others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipelines.corpus.source import read_source
from pipelines.export import ExportConfig, ExportFormat, ExportReport, run_export
from pipelines.label.rows import label_row, shard_bytes
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import PlanSettings, load_plan
from possam_core.evaluation.coco_panoptic import read_annotation, read_ground_truth
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.images.decode import decode_image
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.factories import CALIBRATED, make_segment


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueImage:
    """The ground truth of one image."""

    file: Path
    ids: np.ndarray  # (H, W)
    names: dict[int, str]  # class of each id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueRun:
    """The run, and the truth by image id."""

    run: Path
    vocabulary: Vocabulary
    images: Mapping[str, TrueImage]

    @property
    def things(self) -> set[str]:
        """Names of the classes with instances."""
        return {c.name for c in self.vocabulary.classes if c.is_thing}

    def export(self, output: Path, format: str, **settings: object) -> ExportReport:
        """Export it in this process."""
        settings = {"num_workers": 1, "format": ExportFormat(format)} | settings
        return run_export(ExportConfig(run=str(self.run), output=str(output), **settings))


def write_true_run(
    folder: Path,
    *,
    images: Path,
    annotations: Path,
    pngs: Path,
    vocabulary: Vocabulary,
    shard_size: int,
) -> TrueRun:
    """Commit the truth about `images` into `folder`, as if a model had found it.

    Args:
        folder: where the run goes.
        images: the folder of the corpus.
        annotations: the JSON in COCO panoptic format.
        pngs: the folder of its ids.
        vocabulary: with the classes that the JSON names by their ids.
        shard_size: in images.
    """
    truth = read_ground_truth(annotations)
    found = {
        image.file_name: read_annotation(replace(image, png_path=pngs / image.png_path.name))
        for image in truth.images
    }
    run = RunFolder(str(folder), create=True)
    settings = PlanSettings(
        images=str(images),
        model="truth",
        model_sha256="12",
        vocabulary=vocabulary.name,
        vocabulary_sha256=vocabulary.fingerprint,
        shard_size=shard_size,
        calibrated=replace(CALIBRATED, vocabulary_sha256=vocabulary.fingerprint),
    )
    frozen = FrozenVocabulary(vocabulary=vocabulary, is_seen=(True,) * len(vocabulary))
    freeze_plan(run, settings, read_source(settings.images), vocabulary=frozen)
    plan = load_plan(run)
    assert plan is not None
    known: dict[str, TrueImage] = {}
    for shard in range(plan.num_shards):
        rows = []
        for number, image in enumerate(read_shard(run, shard)):
            file = Path(image.uri)
            labels = as_if_found(found[file.name], vocabulary, score=0.9 - 0.1 * (number % 5))
            rows.append(label_row(image, decode_image(file.read_bytes()), labels))
            names = {s.id: s.category_name for s in labels.segments}
            known[image.image_id] = TrueImage(file=file, ids=labels.ids, names=names)
        run.commit(shard, shard_bytes(rows, {"plan_id": plan.plan_id, "shard": str(shard)}))
    return TrueRun(run=folder, vocabulary=vocabulary, images=known)


def as_if_found(
    annotation: PanopticAnnotation, vocabulary: Vocabulary, *, score: float
) -> PanopticSegmentation:
    """The truth, as if a model had found it with that score."""
    by_category = {c.category_id: (i, c) for i, c in enumerate(vocabulary.classes)}
    geometry = areas_and_boxes(annotation.ids)
    segments = []
    for i, category_id in annotation.category_ids.items():
        class_index, entry = by_category[category_id]
        segments.append(
            make_segment(
                id=i,
                class_index=class_index,
                category_id=category_id,
                category_name=entry.name,
                is_thing=entry.is_thing,
                area_px=geometry[i].area_px,
                bbox_xywh=geometry[i].bbox_xywh,
                score=score,
            )
        )
    return PanopticSegmentation(ids=annotation.ids, segments=tuple(segments))
