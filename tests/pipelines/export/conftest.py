"""A run of playground scenes with their true labels, which no test changes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipelines.export import ExportConfig, ExportFormat, ExportReport, run_export
from pipelines.frozen_vocabulary import FrozenVocabulary
from pipelines.inputs.source import read_source
from pipelines.plan import PlanSettings, load_plan, read_shard
from pipelines.planning import freeze_plan
from pipelines.rows import label_row, shard_bytes
from pipelines.run_folder import RunFolder
from possam_core.evaluation.coco_panoptic import read_annotation, read_ground_truth
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.image_decode import decode_image
from possam_core.masks import areas_and_boxes
from possam_core.panoptic import PanopticSegmentation
from possam_core.playground import PLAYGROUND, write_corpus
from tests.factories import make_segment

NUM_SCENES = 60
SHARD_SIZE = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueScene:
    """What is known of one scene."""

    file: Path
    ids: np.ndarray  # (H, W)
    names: dict[int, str]  # class of each id


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRun:
    """The run, and the truth by image id."""

    run: Path
    scenes: dict[str, TrueScene]

    def export(self, output: Path, format: str, **settings: object) -> ExportReport:
        """Export it in this process."""
        settings = {"num_workers": 1, "format": ExportFormat(format)} | settings
        return run_export(ExportConfig(run=str(self.run), output=str(output), **settings))


@pytest.fixture(scope="session")
def scene_run(tmp_path_factory: pytest.TempPathFactory) -> SceneRun:
    """Labels as perfect as COCO panoptic files say."""
    folder = tmp_path_factory.mktemp("scenes")
    write_corpus(folder / "corpus", num_images=NUM_SCENES, seed=11)
    truth = read_ground_truth(folder / "corpus" / "panoptic.json")
    annotations = {image.file_name: read_annotation(image) for image in truth.images}
    vocabulary = PLAYGROUND.vocabulary
    run = RunFolder(str(folder / "run"), create=True)
    settings = PlanSettings(
        images=str(folder / "corpus" / "images"),
        model="truth",
        model_sha256="12",
        vocabulary="playground",
        vocabulary_sha256=vocabulary.fingerprint,
        shard_size=SHARD_SIZE,
    )
    frozen = FrozenVocabulary(vocabulary=vocabulary, is_seen=(True,) * len(vocabulary))
    freeze_plan(run, settings, read_source(settings.images), vocabulary=frozen)
    plan = load_plan(run)
    assert plan is not None
    scenes: dict[str, TrueScene] = {}
    for shard in range(plan.num_shards):
        rows = []
        for number, image in enumerate(read_shard(run, shard)):
            labels = as_if_found(annotations[Path(image.uri).name], score=0.9 - 0.1 * (number % 5))
            decoded = decode_image(Path(image.uri).read_bytes())
            rows.append(label_row(image, decoded, labels))
            names = {s.id: s.category_name for s in labels.segments}
            scene = TrueScene(file=Path(image.uri), ids=labels.ids, names=names)
            scenes[image.image_id] = scene
        run.commit(shard, shard_bytes(rows, {"plan_id": plan.plan_id, "shard": str(shard)}))
    return SceneRun(run=folder / "run", scenes=scenes)


def as_if_found(annotation: PanopticAnnotation, *, score: float) -> PanopticSegmentation:
    """The truth, as if a model had found it with that score."""
    by_category = {c.category_id: (i, c) for i, c in enumerate(PLAYGROUND.vocabulary.classes)}
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


@pytest.fixture(scope="session")
def exported(
    scene_run: SceneRun, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Exports the scenes in one format, a fifth of them for validation, and at most once."""
    done: dict[str, Path] = {}

    def export(format: str) -> Path:
        if format not in done:
            done[format] = tmp_path_factory.mktemp("exported") / format
            report = scene_run.export(done[format], format, val_share=0.2)
            assert sum(report.num_images.values()) == NUM_SCENES
        return done[format]

    return export


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`datasets` keeps its caches to itself and asks nobody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("huggingface")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
