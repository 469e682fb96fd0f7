from pathlib import Path

import pytest

from possam_core.errors import VocabularyError
from possam_core.vocabulary import Vocabulary, VocabularyClass, load_vocabulary

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
        ("classes: [{name: cat}]", "needs 'name' and 'kind'"),
        ("classes: [{name: cat, kind: animal}]", "thing or stuff"),
        ("classes: [{name: cat, kind: thing, color: red}]", r"unknown keys \['color'\]"),
        ("classes: [{name: a, kind: thing}, {name: a, kind: stuff}]", "a occurs more than once"),
        ("classes: {", "does not parse"),
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
    with pytest.raises(VocabularyError, match="could not be read"):
        load_vocabulary(tmp_path / "none.yaml")
