from dataclasses import replace
from pathlib import Path

import pytest

from possam_core.errors import VocabularyError
from possam_core.vocabulary.vocabulary import (
    Vocabulary,
    VocabularyClass,
    VocabularyDraft,
    load_draft,
    load_vocabulary,
)

CAT = VocabularyClass(category_id=1, name="cat", is_thing=True, synonyms=("kitten",))
SKY = VocabularyClass(category_id=2, name="sky", is_thing=False)
PETS = Vocabulary(name="pets", classes=(CAT, SKY))


def test_a_class_is_seen_if_any_of_its_names_was_trained() -> None:
    assert PETS.seen_in(["kitten", "dog"]) == (True, False)


def test_records_turn_back_into_the_same_vocabulary() -> None:
    assert Vocabulary.from_records("pets", PETS.to_records()) == PETS


def test_the_fingerprint_changes_with_a_synonym_but_not_with_the_vocabularys_name() -> None:
    fewer = Vocabulary(
        name="pets", classes=(VocabularyClass(category_id=1, name="cat", is_thing=True), SKY)
    )
    renamed = Vocabulary(name="other", classes=PETS.classes)
    assert fewer.fingerprint != PETS.fingerprint == renamed.fingerprint


def test_an_unknown_class_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(VocabularyError, match="did you mean 'cat'"):
        PETS.class_index("cats")


def test_a_yaml_file_needs_only_names_and_kinds(tmp_path: Path) -> None:
    file = tmp_path / "pets.yaml"
    file.write_text(
        "classes:\n- {name: cat, kind: thing, synonyms: [kitten]}\n- {name: sky, kind: stuff}\n"
    )
    assert load_vocabulary(file) == PETS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: []", "at least one class"),
        ("classes: [{name: cat}]", "class 'cat': needs 'kind'"),
        ("classes: [{kind: thing}]", "class '#1': needs 'name'"),
        ("classes: [cat]", "class '#1': needs 'name' and 'kind', got 'cat'"),
        ("classes: [{name: no, kind: thing}]", "must be text, got False; put it in quotation"),
        ("classes: [{name: cat, kind: animal}]", "thing or stuff, got 'animal'"),
        ("classes: [{name: cat, kind: things}]", "got 'things'; did you mean 'thing'"),
        ("classes: [{name: cat, kind: thing, color: red}]", "unknown key 'color'; known are id"),
        ("classes: [{name: cat, kind: thing, synonym: [x]}]", "did you mean 'synonyms'"),
        ("classes: [{name: cat, kind: thing, synonyms: kitten}]", "must be a list of names"),
        ("classes: [{name: cat, kind: thing, synonyms: [yes]}]", "must be a list of names"),
        ("classes: [{name: cat, kind: thing, synonyms: ['']}]", "a name or synonym is blank"),
        ("classes: [{name: cat, kind: thing, id: true}]", "whole number, got True"),
        ("classes: [{name: cat, kind: thing, id: 0}]", "positive, got 0"),
        ("classes: [{name: cat, kind: thing, parent: [pet]}]", "parent must be the name"),
        ("classes: [{name: a, kind: thing, id: 2}, {name: b, kind: thing}]", "that of 'a'"),
        ("classes: [{name: a, kind: thing}, {name: a, kind: stuff}]", "a occurs more than once"),
        ("classes: {", "does not parse"),
        ("classes: [{name: 2026-02-30, kind: thing}]", "does not parse"),
        ("things: []", "key 'classes'"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(VocabularyError, match=message) as caught:
        load_vocabulary(file)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"none\.yaml, found none; check the path"):
        load_vocabulary(tmp_path / "none.yaml")
    (tmp_path / "kitchen.yaml").touch()
    with pytest.raises(VocabularyError, match=r"kitchenn\.yaml, found none; did you mean 'kitch"):
        load_vocabulary(tmp_path / "kitchenn.yaml")
    with pytest.raises(VocabularyError, match="could not be read"):
        load_vocabulary(tmp_path)


def test_every_mistake_of_a_file_has_a_line(tmp_path: Path) -> None:
    file = tmp_path / "kitchen.yaml"
    file.write_text(
        "classes:\n- {name: sofa, kind: thng}\n- {name: cup}\n- {name: wall, kind: stuff}\n"
        "- {name: sky, kind: stuff, parent: wal}\n"
    )
    with pytest.raises(VocabularyError) as caught:
        load_vocabulary(file)
    first, *lines = str(caught.value).splitlines()
    assert first == "vocabulary 'kitchen' has 3 mistakes:"
    assert [line.split("'")[1] for line in lines] == ["sofa", "cup", "sky"]
    assert all(line.startswith("  class ") for line in lines)
    assert "did you mean 'wall'?" in lines[2]


def test_a_draft_keeps_the_classes_whose_kind_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "pets.yaml"
    file.write_text("classes: [{name: cat}, dog, {name: sky, kind: stuff}]")
    draft = load_draft(file)
    assert [(c.name, c.category_id) for c in draft.classes] == [("cat", 1), ("sky", 3)]
    assert [m.class_name for m in draft.mistakes] == ["cat", "#2"]


def test_a_sound_draft_is_the_vocabulary() -> None:
    assert VocabularyDraft.from_records("pets", PETS.to_records()).finish() == PETS


TABBY = VocabularyClass(category_id=4, name="tabby", is_thing=True, parent="cat")


def test_a_class_may_have_a_parent_that_survives_the_records() -> None:
    vocabulary = Vocabulary(name="pets", classes=(CAT, SKY, TABBY))
    assert Vocabulary.from_records("pets", vocabulary.to_records()) == vocabulary
    assert vocabulary.to_records()[2]["parent"] == "cat"
    assert "parent" not in vocabulary.to_records()[0]


def test_an_unknown_parent_is_answered_with_the_nearest_class() -> None:
    with pytest.raises(VocabularyError, match="'cats' is no class here; did you mean 'cat'"):
        Vocabulary(name="pets", classes=(CAT, replace(TABBY, parent="cats")))


@pytest.mark.parametrize("parents", [("a", None, None), ("b", "a", None), ("b", "c", "a")])
def test_a_circle_of_parents_is_refused(parents: tuple[str | None, ...]) -> None:
    classes = tuple(
        VocabularyClass(category_id=i, name=name, is_thing=True, parent=parent)
        for i, (name, parent) in enumerate(zip("abc", parents, strict=True), start=1)
    )
    with pytest.raises(VocabularyError, match="class 'a': is its own ancestor"):
        Vocabulary(name="letters", classes=classes)


def test_a_class_below_a_circle_is_not_blamed_for_it() -> None:
    draft = VocabularyDraft.from_records(
        "letters", [{"name": n, "kind": "thing", "parent": p} for n, p in ("ab", "ba", "ca")]
    )
    assert [m.class_name for m in draft.mistakes] == ["a", "b"]


def test_a_subset_forgets_a_parent_that_is_left_out() -> None:
    vocabulary = Vocabulary(name="pets", classes=(CAT, SKY, TABBY))
    assert vocabulary.subset(["tabby", "cat"], name="cats").classes == (CAT, TABBY)
    assert vocabulary.subset(["tabby"], name="tabbies").classes == (replace(TABBY, parent=None),)


def test_the_fingerprint_is_that_of_earlier_versions_unless_there_are_parents() -> None:
    assert PETS.fingerprint == "d6f4affd1cb331bea693efd573df68e71c9fa758ea067ca15b05fba7bc907092"
    flat = Vocabulary(name="pets", classes=(CAT, replace(TABBY, parent=None)))
    grouped = Vocabulary(name="pets", classes=(CAT, TABBY))
    assert flat.fingerprint != grouped.fingerprint
