"""A small committed run, made from playground truth instead of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.corpus.source import read_source
from pipelines.label.rows import error_row, label_row, shard_bytes
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.run.plan import PlanSettings, load_plan
from pipelines.storage import retry
from possam_core.images.decode import ImageError, decode_image
from possam_core.labels.masks import areas_and_boxes
from possam_core.labels.segmentation import PanopticSegmentation
from possam_core.playground import PLAYGROUND, generate_scene, write_corpus
from tests.factories import CALIBRATED, make_segment
from tests.pipelines.clock import Clock

SEED = 3
SHARD_SIZE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallRun:
    """A run and the corpus that it labels."""

    run: Path
    corpus: Path

    @property
    def images(self) -> Path:
        return self.corpus / "images"

    @property
    def ground_truth(self) -> Path:
        return self.corpus / "panoptic.json"


def true_segmentation(index: int, *, score: float) -> PanopticSegmentation:
    """The truth of scene `index`, as if a model had predicted it with that score."""
    scene = generate_scene(SEED, index)
    classes, geometry = PLAYGROUND.vocabulary.classes, areas_and_boxes(scene.ids)
    segments = tuple(
        make_segment(
            id=i,
            class_index=c,
            category_id=classes[c].category_id,
            category_name=classes[c].name,
            is_thing=classes[c].is_thing,
            area_px=geometry[i].area_px,
            bbox_xywh=geometry[i].bbox_xywh,
            score=score,
        )
        for i, c in enumerate(scene.class_indices, start=1)
    )
    return PanopticSegmentation(ids=scene.ids, segments=segments)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for retries: they do not wait, but their waits are recorded."""
    clock = Clock()
    monkeypatch.setattr(retry, "monotonic", clock.monotonic)
    monkeypatch.setattr(retry, "sleep", clock.sleep)
    return clock


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., SmallRun]:
    """Builds a run of `num_images` perfect labels; `damage` maps scene numbers to file contents."""

    def make(num_images: int = 5, damage: Mapping[int, bytes] | None = None) -> SmallRun:
        small = SmallRun(run=tmp_path / "run", corpus=tmp_path / "corpus")
        write_corpus(small.corpus, num_images=num_images, seed=SEED)
        for index, content in (damage or {}).items():
            (small.images / f"scene-{index:05d}.jpg").write_bytes(content)
        run = RunFolder(str(small.run), create=True)
        settings = PlanSettings(
            images=str(small.images),
            model="the <truth>",
            model_sha256="12",
            vocabulary="playground",
            vocabulary_sha256=PLAYGROUND.vocabulary.fingerprint,
            shard_size=SHARD_SIZE,
            calibrated=CALIBRATED,
        )
        vocabulary = PLAYGROUND.vocabulary
        frozen = FrozenVocabulary(vocabulary=vocabulary, is_seen=(True,) * len(vocabulary))
        freeze_plan(run, settings, read_source(str(small.images)), vocabulary=frozen)
        plan = load_plan(run)
        assert plan is not None
        for shard in range(plan.num_shards):
            rows = []
            for image in read_shard(run, shard):
                index = int(Path(image.uri).stem.removeprefix("scene-"))
                try:
                    decoded = decode_image(Path(image.uri).read_bytes())
                except ImageError as error:
                    rows.append(error_row(image, error))
                else:
                    labels = true_segmentation(index, score=0.9 - 0.1 * (index % 5))
                    rows.append(label_row(image, decoded, labels))
            provenance = {"plan_id": plan.plan_id, "shard": str(shard), "possam_version": "0"}
            run.commit(shard, shard_bytes(rows, provenance))
        return small

    return make
