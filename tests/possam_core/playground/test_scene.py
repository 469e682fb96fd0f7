"""Scenes: the same for the same arguments, varied otherwise, and true to their labels."""

import hashlib

import numpy as np
import pytest

from possam_core.errors import ConfigError
from possam_core.playground import Scene, generate_scene, playground_vocabulary, seen_vocabulary


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [generate_scene(5, index) for index in range(200)]


def digest(scene: Scene) -> str:
    content = scene.image.tobytes() + scene.ids.tobytes() + repr(scene.class_indices).encode()
    return hashlib.sha256(content).hexdigest()


def thing_count(scene: Scene) -> int:
    return sum(playground_vocabulary().classes[i].is_thing for i in scene.class_indices)


def test_same_arguments_give_the_same_bytes_whatever_came_before() -> None:
    first = digest(generate_scene(3, 8))
    generate_scene(4, 1)
    assert digest(generate_scene(3, 8)) == first


def test_scenes_differ_between_seeds_and_indices() -> None:
    assert len({digest(generate_scene(s, i)) for s in range(3) for i in range(3)}) == 9


def test_naming_all_classes_is_the_same_as_naming_none() -> None:
    names = frozenset(c.name for c in playground_vocabulary().classes)
    assert digest(generate_scene(1, 1, class_names=names)) == digest(generate_scene(1, 1))


def test_ids_are_consecutive_and_each_has_its_least_area(scenes: list[Scene]) -> None:
    for scene in scenes:
        areas = np.bincount(scene.ids.ravel())[1:]
        assert len(areas) == len(scene.class_indices)
        is_thing = [playground_vocabulary().classes[i].is_thing for i in scene.class_indices]
        assert (areas >= np.where(is_thing, 30, 64)).all()


def test_stuff_of_one_class_is_one_segment_and_some_is_there(scenes: list[Scene]) -> None:
    classes = playground_vocabulary().classes
    for scene in scenes:
        stuff = [i for i in scene.class_indices if not classes[i].is_thing]
        assert 1 <= len(set(stuff)) == len(stuff) <= 4


def test_image_and_ids_agree_in_size_and_type(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (*scene.ids.shape, 3)
        assert (scene.image.dtype, scene.ids.dtype) == (np.uint8, np.int32)


def test_sizes_and_aspect_ratios_span_their_ranges(scenes: list[Scene]) -> None:
    hw = np.array([s.ids.shape for s in scenes])
    assert 160 <= hw.max(axis=1).min() < 180
    assert 300 < hw.max(axis=1).max() <= 320
    aspects = hw[:, 1] / hw[:, 0]
    assert 0.49 <= aspects.min() < 0.6
    assert 1.7 < aspects.max() <= 2.02


def test_number_of_things_spans_two_to_nine(scenes: list[Scene]) -> None:
    counts = {thing_count(s) for s in scenes}
    assert counts == set(range(2, 10))


def test_things_span_a_tenfold_range_of_sizes(scenes: list[Scene]) -> None:
    extents = []
    for scene in scenes:
        for thing_id in range(1, thing_count(scene) + 1):
            rows, columns = np.nonzero(scene.ids == thing_id)
            extents.append(max(np.ptp(rows), np.ptp(columns)) / min(scene.ids.shape))
    assert min(extents) < 0.085
    assert max(extents) > 0.8


def test_every_class_occurs(scenes: list[Scene]) -> None:
    assert {i for s in scenes for i in s.class_indices} == set(range(48))


def test_only_named_classes_appear() -> None:
    names = frozenset(c.name for c in seen_vocabulary().classes)
    classes = playground_vocabulary().classes
    shown = {
        classes[i].name
        for index in range(40)
        for i in generate_scene(2, index, class_names=names).class_indices
    }
    assert shown <= names
    assert len(shown) > 28


def test_one_thing_and_one_stuff_class_are_enough() -> None:
    scene = generate_scene(0, 0, class_names=frozenset({"sky", "car"}))
    names = {playground_vocabulary().classes[i].name for i in scene.class_indices}
    assert names == {"sky", "car"}


@pytest.mark.parametrize(
    ("class_names", "message"),
    [
        (frozenset({"car"}), "at least one thing and one stuff class, got 1 and 0"),
        (frozenset({"sky"}), "at least one thing and one stuff class, got 0 and 1"),
        (frozenset({"sky", "carr"}), r"got \['carr'\]"),
    ],
)
def test_unusable_class_names_are_refused(class_names: frozenset[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_scene(0, 0, class_names=class_names)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_negative_seed_or_index_is_refused(seed: int, index: int) -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        generate_scene(seed, index)
