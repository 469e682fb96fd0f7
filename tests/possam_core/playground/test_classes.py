"""The class list: counts, names, and what keeps colour from giving a class away."""

from collections import Counter

import pytest

from possam_core.playground import UNSEEN_CLASSES, playground_vocabulary, seen_vocabulary
from possam_core.playground.classes import STUFF, THINGS
from possam_core.playground.sprites import HUE_FAMILIES


def test_playground_has_36_things_then_12_stuff_numbered_from_one() -> None:
    classes = playground_vocabulary().classes
    assert [c.is_thing for c in classes] == [True] * 36 + [False] * 12
    assert [c.category_id for c in classes] == list(range(1, 49))
    assert playground_vocabulary().name == "playground"


def test_a_third_of_the_things_and_of_the_stuff_is_unseen() -> None:
    unseen = [c for c in playground_vocabulary().classes if c.name in UNSEEN_CLASSES]
    assert len(unseen) == len(UNSEEN_CLASSES) == 16
    assert sum(c.is_thing for c in unseen) == 12


def test_seen_vocabulary_keeps_category_ids_of_the_other_32() -> None:
    seen = seen_vocabulary()
    assert seen.name == "playground-seen"
    assert len(seen) == 32
    assert UNSEEN_CLASSES.isdisjoint(c.name for c in seen.classes)
    assert set(seen.classes) < set(playground_vocabulary().classes)


def test_unseen_classes_share_no_name_or_synonym_with_seen_ones() -> None:
    training_names = [n for c in seen_vocabulary().classes for n in c.all_names]
    is_seen = playground_vocabulary().seen_in(training_names)
    assert is_seen.count(True) == 32


def test_no_name_or_synonym_belongs_to_two_classes() -> None:
    names = Counter(n for c in playground_vocabulary().classes for n in c.all_names)
    assert max(names.values()) == 1


@pytest.mark.parametrize("entry", playground_vocabulary().classes, ids=lambda c: c.name)
def test_class_has_one_to_three_synonyms(entry) -> None:
    assert 1 <= len(entry.synonyms) <= 3


def test_every_hue_family_is_worn_by_at_least_four_things() -> None:
    wearers = Counter(hue for thing in THINGS for hue in thing.body_hues)
    assert set(wearers) == set(HUE_FAMILIES)
    assert min(wearers.values()) >= 4


def test_every_thing_may_wear_two_or_three_known_hues() -> None:
    for thing in THINGS:
        assert len(set(thing.body_hues)) in (2, 3), thing.name
        assert set(thing.accent_hues) <= set(HUE_FAMILIES), thing.name


def test_every_ramp_rises_from_zero_to_one() -> None:
    for ramp in (r for stuff in STUFF for r in stuff.ramps):
        tones = [tone for tone, _ in ramp]
        assert tones == sorted(tones)
        assert (tones[0], tones[-1]) == (0.0, 1.0)
