"""Runs with true labels, which no test changes: playground scenes, and photographs of COCO."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from possam_core.evaluation.coco_panoptic import read_ground_truth
from possam_core.playground import PLAYGROUND, write_corpus
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass
from tests.pipelines.export.true_runs import TrueRun, write_true_run

NUM_SCENES, NUM_PHOTOGRAPHS = 200, 100
SHARD_SIZE = 40
# Beside the checkout; no part of it.
PHOTOGRAPHS = Path(__file__).resolve().parents[4] / "shared" / "data" / "coco128_train"


@pytest.fixture(scope="session")
def scene_run(tmp_path_factory: pytest.TempPathFactory) -> TrueRun:
    """Drawn scenes of 48 classes, whose ids count from 1."""
    folder = tmp_path_factory.mktemp("scenes")
    write_corpus(folder / "corpus", num_images=NUM_SCENES, seed=11)
    return write_true_run(
        folder / "run",
        images=folder / "corpus" / "images",
        annotations=folder / "corpus" / "panoptic.json",
        pngs=folder / "corpus" / "panoptic",
        vocabulary=PLAYGROUND.vocabulary,
        shard_size=SHARD_SIZE,
    )


@pytest.fixture(scope="session")
def photograph_run(tmp_path_factory: pytest.TempPathFactory) -> TrueRun:
    """A hundred photographs as people have annotated them: 133 classes, ids of three bytes."""
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"no photographs at {PHOTOGRAPHS}: put the shared data beside the checkout")
    annotations = PHOTOGRAPHS / "panoptic_train.json"
    truth = read_ground_truth(annotations)
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "images").mkdir()
    for image in truth.images:  # some photographs have no truth
        shutil.copy(PHOTOGRAPHS / "images" / image.file_name, folder / "images")
    entries = (
        VocabularyClass(category_id=c.id, name=c.name, is_thing=c.is_thing)
        for c in truth.categories
    )
    run = write_true_run(
        folder / "run",
        images=folder / "images",
        annotations=annotations,
        pngs=PHOTOGRAPHS / "panoptic",
        vocabulary=Vocabulary(name="coco", classes=tuple(entries)),
        shard_size=SHARD_SIZE,
    )
    assert len(run.images) == NUM_PHOTOGRAPHS
    return run


@pytest.fixture(params=["scene_run", "photograph_run"], scope="session")
def true_run(request: pytest.FixtureRequest) -> TrueRun:
    """The one, and then the other."""
    run: TrueRun = request.getfixturevalue(request.param)
    return run


@pytest.fixture(scope="session")
def exported(true_run: TrueRun, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports `true_run` in one format, a fifth of it for validation, and at most once."""
    done: dict[str, Path] = {}

    def export(format: str) -> Path:
        if format not in done:
            done[format] = tmp_path_factory.mktemp("exported") / format
            report = true_run.export(done[format], format, val_share=0.2)
            assert sum(report.num_images.values()) == len(true_run.images)
        return done[format]

    return export


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`datasets` uses caches of this test and no network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("huggingface")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
