"""Scenes: the same for the same arguments, varied otherwise, and true to their labels."""

import hashlib

import numpy as np
import pytest

from possam_core.errors import ConfigError
from possam_core.playground import PLAYGROUND, WORKSHOP, Scene, World, generate_scene
from possam_core.training.data.scenes import MAX_SEGMENTS

CLASSES = PLAYGROUND.vocabulary.classes
WORLDS = (PLAYGROUND, WORKSHOP)
SEEN = frozenset(c.name for c in PLAYGROUND.training_vocabulary.classes)
# Of the first world, by `digest`, from before there was a second: it must never change.
GOLDEN = {
    (0, 0, None): "549fb43db5d2b715e3449b9218c234a19e27e936d1a723038393cc069ecea5b2",
    (3, 8, None): "33ddd20d57a59f4019aa633e6c1cf6858e362f43134b70347031c57878782d5c",
    (301, 17, None): "c846f73dced518ae568e3dfbf232b3d1a62415a4cdd1fe9ff793715aaab8cc29",
    (2000003, 11, None): "5b7f8506df57da13f53187b65b8cdd8d33289c43309fdf82b27da8295354cc39",
    (102, 5, SEEN): "577d3ad693430b75c84151228f61fc86f3905cde7d56f9a34c6af5e20f50902e",
    (102, 6, SEEN): "9fcd14bbe6f3456d8d4583e940480a358305ca03a8f6d8c12ff03e32a467d12e",
}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [generate_scene(5, index) for index in range(200)]


@pytest.fixture(scope="module")
def workshop_scenes() -> list[Scene]:
    return [generate_scene(5, index, world=WORKSHOP) for index in range(100)]


def digest(scene: Scene) -> str:
    content = scene.image.tobytes() + scene.ids.tobytes() + repr(scene.class_indices).encode()
    return hashlib.sha256(content).hexdigest()


def thing_count(scene: Scene, world: World = PLAYGROUND) -> int:
    return sum(world.vocabulary.classes[i].is_thing for i in scene.class_indices)


@pytest.mark.parametrize(("seed", "index", "class_names"), GOLDEN, ids=range(len(GOLDEN)))
def test_scenes_of_the_first_world_never_change(
    seed: int, index: int, class_names: frozenset[str] | None
) -> None:
    scene = generate_scene(seed, index, class_names=class_names)
    assert digest(scene) == GOLDEN[seed, index, class_names]


@pytest.mark.parametrize("world", [PLAYGROUND, WORKSHOP], ids=lambda w: w.name)
def test_same_arguments_give_the_same_bytes_whatever_came_before(world: World) -> None:
    first = digest(generate_scene(3, 8, world=world))
    generate_scene(4, 1, world=world)
    assert digest(generate_scene(3, 8, world=world)) == first


def test_scenes_differ_between_seeds_indices_and_worlds() -> None:
    scenes = (generate_scene(s, i, world=w) for s in range(3) for i in range(3) for w in WORLDS)
    assert len({digest(scene) for scene in scenes}) == 18


def test_naming_all_classes_is_the_same_as_naming_none() -> None:
    names = frozenset(c.name for c in CLASSES)
    assert digest(generate_scene(1, 1, class_names=names)) == digest(generate_scene(1, 1))


def test_ids_are_consecutive_and_each_has_its_least_area(
    scenes: list[Scene], workshop_scenes: list[Scene]
) -> None:
    for world, drawn in ((PLAYGROUND, scenes), (WORKSHOP, workshop_scenes)):
        for scene in drawn:
            areas = np.bincount(scene.ids.ravel())[1:]
            assert len(areas) == len(scene.class_indices)
            is_thing = [world.vocabulary.classes[i].is_thing for i in scene.class_indices]
            assert (areas >= np.where(is_thing, 30, 64)).all()


def test_stuff_of_one_class_is_one_segment_and_some_is_there(
    scenes: list[Scene], workshop_scenes: list[Scene]
) -> None:
    for world, drawn, most in ((PLAYGROUND, scenes, 4), (WORKSHOP, workshop_scenes, 5)):
        for scene in drawn:
            indices = scene.class_indices
            stuff = [i for i in indices if not world.vocabulary.classes[i].is_thing]
            assert 1 <= len(set(stuff)) == len(stuff) <= most


def test_image_and_ids_agree_in_size_and_type(
    scenes: list[Scene], workshop_scenes: list[Scene]
) -> None:
    for scene in scenes + workshop_scenes:
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


def test_the_second_world_is_fuller_and_fits_what_training_pads_to(
    workshop_scenes: list[Scene],
) -> None:
    counts = [thing_count(s, WORKSHOP) for s in workshop_scenes]
    assert (min(counts), max(counts)) == (4, 14)
    assert max(len(s.class_indices) for s in workshop_scenes) < MAX_SEGMENTS


def test_images_of_the_second_world_are_mostly_wide(workshop_scenes: list[Scene]) -> None:
    hw = np.array([s.ids.shape for s in workshop_scenes])
    assert hw.max(axis=1).min() >= 192
    assert hw.max(axis=1).max() <= 288
    aspects = hw[:, 1] / hw[:, 0]
    assert 0.86 <= aspects.min() < 0.95
    assert 1.6 < aspects.max() <= 1.76


def test_things_span_a_tenfold_range_of_sizes(scenes: list[Scene]) -> None:
    extents = []
    for scene in scenes:
        for thing_id in range(1, thing_count(scene) + 1):
            rows, columns = np.nonzero(scene.ids == thing_id)
            extents.append(max(np.ptp(rows), np.ptp(columns)) / min(scene.ids.shape))
    assert min(extents) < 0.085
    assert max(extents) > 0.8


def test_every_class_occurs(scenes: list[Scene], workshop_scenes: list[Scene]) -> None:
    assert {i for s in scenes for i in s.class_indices} == set(range(48))
    assert {i for s in workshop_scenes for i in s.class_indices} == set(range(40))


@pytest.mark.parametrize(("world", "least"), [(PLAYGROUND, 29), (WORKSHOP, 26)])
def test_only_named_classes_appear(world: World, least: int) -> None:
    names = frozenset(c.name for c in world.training_vocabulary.classes)
    shown = {
        world.vocabulary.classes[i].name
        for index in range(40)
        for i in generate_scene(2, index, class_names=names, world=world).class_indices
    }
    assert shown <= names
    assert len(shown) >= least


def test_one_thing_and_one_stuff_class_are_enough() -> None:
    scene = generate_scene(0, 0, class_names=frozenset({"sky", "car"}))
    names = {CLASSES[i].name for i in scene.class_indices}
    assert names == {"sky", "car"}


@pytest.mark.parametrize(
    ("class_names", "message"),
    [
        (frozenset({"car"}), "at least one thing and one stuff class, got 1 and 0"),
        (frozenset({"sky"}), "at least one thing and one stuff class, got 0 and 1"),
        (frozenset({"sky", "carr"}), r"'playground', got \['carr'\]"),
    ],
)
def test_unusable_class_names_are_refused(class_names: frozenset[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_scene(0, 0, class_names=class_names)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_negative_seed_or_index_is_refused(seed: int, index: int) -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        generate_scene(seed, index)
