"""Tests of pipelines.run.classes."""

import json
from pathlib import Path

import pytest

from pipelines.planning.prepare import prepare
from pipelines.run.classes import Category, FrozenVocabulary, read_categories
from pipelines.run.folder import VOCABULARY_KEY, RunFolder
from pipelines.settings.label import LabelConfig
from possam_core.errors import ConfigError
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.factories import encode, make_pixels

VOCABULARY = Vocabulary.from_records(
    "mine",
    [
        {"id": 3, "name": "cup", "kind": "thing", "synonyms": ["mug"], "parent": "wall"},
        {"id": 9, "name": "wall", "kind": "stuff"},
    ],
)
FROZEN = FrozenVocabulary(vocabulary=VOCABULARY, is_seen=(True, False))


def test_the_classes_of_a_run_are_kept_with_all_that_distinguishes_them(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    assert read_categories(run) is None
    FROZEN.freeze(run)
    assert run.read_json(VOCABULARY_KEY) == {
        "name": "mine",
        "sha256": VOCABULARY.fingerprint,
        "categories": [
            {
                "id": 3,
                "name": "cup",
                "isthing": True,
                "synonyms": ["mug"],
                "is_seen": True,
                "parent": "wall",
            },
            {"id": 9, "name": "wall", "isthing": False, "synonyms": [], "is_seen": False},
        ],
    }
    assert read_categories(run) == (
        Category(id=3, name="cup", is_thing=True, is_seen=True),
        Category(id=9, name="wall", is_thing=False, is_seen=False),
    )


def test_a_folder_keeps_one_vocabulary(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    FROZEN.freeze(run)
    FROZEN.freeze(run)
    other = FrozenVocabulary(vocabulary=VOCABULARY.subset(["wall"], name="mine"), is_seen=(True,))
    with pytest.raises(ConfigError, match="holds other classes; delete its _plan folder"):
        other.freeze(run)


def test_planning_keeps_the_vocabulary_and_what_the_model_knows_of_it(
    tmp_path: Path, tiny_model: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(encode(make_pixels()))
    words = tmp_path / "words.yaml"
    words.write_text(
        "classes: [{name: globe, kind: thing, synonyms: [ball]}, {name: sky, kind: stuff}]"
    )
    output = tmp_path / "run"
    config = LabelConfig(
        images=str(tmp_path / "images"),
        output=str(output),
        model=tiny_model,
        vocabulary=str(words),
    )
    prepared = prepare(config)
    content = json.loads((output / VOCABULARY_KEY).read_text())
    assert content["sha256"] == prepared.plan.settings.vocabulary_sha256
    # The model was trained on balls alone.
    assert {c["name"]: c["is_seen"] for c in content["categories"]} == {"globe": True, "sky": False}
