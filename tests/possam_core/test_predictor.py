import numpy as np
import pytest

from possam_core.errors import PossamError
from possam_core.playground import generate_scene, playground_vocabulary
from possam_core.predictor import Predictor, load_predictor
from possam_core.vocabulary import Vocabulary, VocabularyClass
from tests.factories import make_pixels

BALLS = Vocabulary(
    name="balls",
    classes=(
        VocabularyClass(category_id=7, name="ball", is_thing=True),
        VocabularyClass(category_id=9, name="lawn", is_thing=False),
    ),
)


@pytest.fixture(scope="module")
def predictor(tiny_model: str) -> Predictor:
    return load_predictor(tiny_model, BALLS)


def test_mixed_sizes_come_back_at_their_own_size(predictor: Predictor) -> None:
    images = [make_pixels(48, 64), make_pixels(100, 30), make_pixels(9, 9)]
    assert [r.image_hw for r in predictor(images)] == [(48, 64), (100, 30), (9, 9)]


def test_segments_speak_of_the_users_vocabulary(predictor: Predictor) -> None:
    segments = [s for r in predictor([make_pixels(seed=i) for i in range(4)]) for s in r.segments]
    assert segments
    assert {s.category_id for s in segments} <= {7, 9}
    assert {s.category_name for s in segments if s.is_seen} <= {"ball"}
    for segment in segments:
        figures = (segment.score, segment.predicted_iou, segment.margin, segment.stability_score)
        assert all(0 <= f <= 1 for f in (*figures, segment.entropy))


def test_the_same_image_gets_the_same_labels_twice(predictor: Predictor) -> None:
    first, second = predictor([make_pixels()]), predictor([make_pixels()])
    np.testing.assert_array_equal(first[0].ids, second[0].ids)
    assert first[0].segments == second[0].segments


def test_no_images_are_refused(predictor: Predictor) -> None:
    with pytest.raises(PossamError, match="at least one image"):
        predictor([])


def test_possam_tiny_finds_most_of_a_playground_scene() -> None:
    predictor = load_predictor("possam-tiny")
    names = [c.name for c in playground_vocabulary().classes]
    found = missed = 0
    for index in range(8):
        scene = generate_scene(5, index)
        predicted = {s.category_name for s in predictor([scene.image])[0].segments}
        truth = {names[c] for c in scene.class_indices}
        found += len(truth & predicted)
        missed += len(truth - predicted)
    assert found > missed
