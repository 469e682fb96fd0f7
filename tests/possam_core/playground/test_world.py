"""The two worlds: counts, names, shared classes, and colours that do not reveal the class."""

import pickle
import subprocess
import sys
from collections import Counter

import pytest

from possam_core.errors import ConfigError
from possam_core.playground import PLAYGROUND, WORKSHOP, World, find_world
from possam_core.playground.playground_classes import UNSEEN_CLASSES as PLAYGROUND_UNSEEN
from possam_core.playground.workshop_classes import UNSEEN_CLASSES as WORKSHOP_UNSEEN
from possam_core.vocabulary.lint import lint_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary

WORLDS = (PLAYGROUND, WORKSHOP)
both_worlds = pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)


def names_of(vocabulary: Vocabulary) -> list[str]:
    return [n for c in vocabulary.classes for n in c.all_names]


@pytest.mark.parametrize(("world", "things", "stuff"), [(PLAYGROUND, 36, 12), (WORKSHOP, 30, 10)])
def test_classes_are_things_then_stuff_numbered_from_one(
    world: World, things: int, stuff: int
) -> None:
    classes = world.vocabulary.classes
    assert [c.is_thing for c in classes] == [True] * things + [False] * stuff
    assert [c.category_id for c in classes] == list(range(1, things + stuff + 1))
    assert [c.name for c in classes] == [d.name for d in (*world.things, *world.stuff)]
    assert world.vocabulary.name == world.name


@pytest.mark.parametrize(
    ("world", "unseen", "things", "stuff"),
    [(PLAYGROUND, PLAYGROUND_UNSEEN, 12, 4), (WORKSHOP, WORKSHOP_UNSEEN, 9, 3)],
    ids=["playground", "workshop"],
)
def test_training_may_show_all_but_the_held_out_classes_with_the_same_ids(
    world: World, unseen: frozenset[str], things: int, stuff: int
) -> None:
    held_out = [c for c in world.vocabulary.classes if c.name in unseen]
    assert sum(c.is_thing for c in held_out) == things
    assert sum(not c.is_thing for c in held_out) == stuff
    expected = tuple(c for c in world.vocabulary.classes if c.name not in unseen)
    assert world.training_vocabulary.classes == expected
    assert len(world.training_vocabulary) == {"playground": 32, "workshop": 28}[world.name]


@both_worlds
def test_held_out_classes_share_no_name_with_those_of_training(world: World) -> None:
    is_seen = world.vocabulary.seen_in(names_of(world.training_vocabulary))
    assert is_seen.count(True) == len(world.training_vocabulary)


@both_worlds
def test_no_name_or_synonym_belongs_to_two_classes(world: World) -> None:
    assert max(Counter(names_of(world.vocabulary)).values()) == 1
    assert lint_vocabulary(world.vocabulary) == []


@both_worlds
def test_every_class_has_one_to_three_synonyms(world: World) -> None:
    assert {len(c.synonyms) for c in world.vocabulary.classes} <= {1, 2, 3}


def test_sixteen_classes_of_the_workshop_are_known_from_the_playground_and_back() -> None:
    of_workshop = WORKSHOP.vocabulary.seen_in(names_of(PLAYGROUND.training_vocabulary))
    known = [c for c, s in zip(WORKSHOP.vocabulary.classes, of_workshop, strict=True) if s]
    assert (sum(c.is_thing for c in known), sum(not c.is_thing for c in known)) == (12, 4)
    assert set(known) <= set(WORKSHOP.training_vocabulary.classes)
    of_playground = PLAYGROUND.vocabulary.seen_in(names_of(WORKSHOP.training_vocabulary))
    back = [c for c, s in zip(PLAYGROUND.vocabulary.classes, of_playground, strict=True) if s]
    assert (sum(c.is_thing for c in back), sum(not c.is_thing for c in back)) == (12, 4)
    assert set(back) <= set(PLAYGROUND.training_vocabulary.classes)


def test_the_other_24_classes_share_no_name_with_any_class_of_the_playground() -> None:
    anywhere = WORKSHOP.vocabulary.seen_in(names_of(PLAYGROUND.vocabulary))
    assert anywhere == WORKSHOP.vocabulary.seen_in(names_of(PLAYGROUND.training_vocabulary))
    taken = {n.lower() for n in names_of(PLAYGROUND.vocabulary)}
    own = [c for c, known in zip(WORKSHOP.vocabulary.classes, anywhere, strict=True) if not known]
    assert len(own) == 24
    assert taken.isdisjoint(n.lower() for c in own for n in c.all_names)


def test_shared_classes_pair_one_to_one_nine_under_another_main_name() -> None:
    pairs = [
        (mine, other)
        for mine in WORKSHOP.vocabulary.classes
        for other in PLAYGROUND.vocabulary.classes
        if not set(mine.all_names).isdisjoint(other.all_names)
    ]
    assert len(pairs) == len({m for m, _ in pairs}) == len({o for _, o in pairs}) == 16
    assert all(mine.is_thing == other.is_thing for mine, other in pairs)
    assert sum(mine.name != other.name for mine, other in pairs) == 9
    assert all(set(mine.all_names) != set(other.all_names) for mine, other in pairs)


@both_worlds
def test_things_have_two_or_three_hues_and_no_hue_is_rare(world: World) -> None:
    hues = set(world.style.drawing.hues)
    for design in world.things:
        assert len(set(design.body_hues)) in (2, 3), design.name
        assert set(design.accent_hues) <= hues, design.name
    wearers = Counter(hue for design in world.things for hue in design.body_hues)
    assert set(wearers) == hues
    assert min(wearers.values()) >= 4


@both_worlds
def test_every_ramp_rises_from_zero_to_one(world: World) -> None:
    for ramp in (r for design in world.stuff for r in design.ramps):
        tones = [tone for tone, _ in ramp]
        assert tones == sorted(tones)
        assert (tones[0], tones[-1]) == (0.0, 1.0)


@both_worlds
def test_a_world_is_found_by_its_name_and_pickles_as_itself(world: World) -> None:
    assert find_world(world.name) is world
    assert pickle.loads(pickle.dumps(world)) is world


@pytest.mark.parametrize(
    ("name", "hint"),
    [("workshp", "did you mean 'workshop'"), ("xyz", "name one of them")],
)
def test_an_unknown_world_is_refused_with_the_nearest_name(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=rf"playground, workshop\), got '{name}'; {hint}"):
        find_world(name)


def test_worlds_import_without_torch() -> None:
    code = "import sys, possam_core.playground; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
