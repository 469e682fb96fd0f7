from pathlib import Path

import pytest

from pipelines.export.classes import choose_classes
from possam_core.errors import ConfigError
from tests.pipelines.export.rows import CATEGORIES


def chosen(choice: str | None) -> tuple[list[tuple[int, int, str, bool]], dict[int, int]]:
    classes = choose_classes(CATEGORIES, choice)
    return [(c.index, c.id, c.name, c.is_thing) for c in classes.classes], dict(classes.index_of)


def write(folder: Path, text: str) -> str:
    file = folder / "classes.yaml"
    file.write_text(text)
    return str(file)


def test_without_a_choice_all_classes_are_exported_things_first_and_keep_their_ids() -> None:
    classes, index_of = chosen(None)
    expected = [(0, 7, "person", True), (1, 9, "car", True), (2, 3, "sky", False)]
    assert classes == [*expected, (3, 4, "sea", False)]
    assert index_of == {7: 0, 9: 1, 3: 2, 4: 3}


def test_chosen_classes_come_in_the_order_of_the_choice_and_keep_their_ids() -> None:
    classes, index_of = chosen("sky, car ,person,")
    assert classes == [(0, 9, "car", True), (1, 7, "person", True), (2, 3, "sky", False)]
    assert index_of == {9: 0, 7: 1, 3: 2}


def test_a_file_gives_new_names_and_ids_by_its_order(tmp_path: Path) -> None:
    file = write(tmp_path, "outside: [sky, sea]\nactor: [car, person]\n")
    classes, index_of = chosen(file)
    assert classes == [(0, 2, "actor", True), (1, 1, "outside", False)]
    assert index_of == {9: 0, 7: 0, 3: 1, 4: 1}


def test_categories_are_written_as_coco_panoptic_has_them() -> None:
    person, sky = choose_classes(CATEGORIES, "person,sky").to_json()
    assert (person["id"], person["name"], person["isthing"]) == (7, "person", 1)
    assert (sky["supercategory"], sky["isthing"]) == ("stuff", 0)
    assert person["color"] != sky["color"]
    assert all(0 <= channel <= 255 for channel in person["color"])


@pytest.mark.parametrize(
    ("choice", "wrong"),
    [
        ("persn,car", r"got 'persn'; did you mean 'person'\?"),
        ("zebra", "got 'zebra'; possam stats lists them"),
        (
            "cat, automobile",
            "'automobile'; .*a YAML file of `new name: .old names.` gives or joins",
        ),
        (" , ", "at least one class to export, got none"),
        ("zebra,persn", "'zebra'.*; expected classes of the run, got 'persn'"),
    ],
)
def test_classes_that_the_run_has_not_are_refused(choice: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        choose_classes(CATEGORIES, choice)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("all: [person, sky]", "expected things or stuff as 'all', got both"),
        ("a: [person]\nb: [car, person]", "expected 'person' once, got it for 'a' and 'b'"),
        ("a: person", r"expected `new name: \[old names\]` in .*, got a: 'person'"),
        ("a: []", r"got a: \[\]"),
        ("a: [1]", r"got a: \[1\]"),
        ("- person", "expected `name: value` lines"),
    ],
)
def test_a_file_that_makes_no_classes_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        choose_classes(CATEGORIES, write(tmp_path, text))


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="could not be read"):
        choose_classes(CATEGORIES, str(tmp_path / "no.yaml"))
