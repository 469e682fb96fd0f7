from pathlib import Path

import pytest

from possam_core.errors import VocabularyError
from possam_core.playground import PLAYGROUND, WORKSHOP, World
from possam_core.vocabulary.builtin import builtin_vocabularies, find_draft, find_vocabulary
from possam_core.vocabulary.lint import lint_vocabulary
from possam_core.vocabulary.vocabulary import VocabularyClass

THINGS_AND_STUFF = {
    "ade20k-150": (100, 50),
    "ade20k-847": (651, 196),
    "cityscapes": (8, 11),
    "coco-panoptic": (80, 53),
    "fc-clip-ade20k-150": (100, 50),
    "fc-clip-coco": (80, 53),
    "lvis": (1203, 0),
    "pascal-context-459": (387, 72),
    "pascal-context-59": (37, 22),
    "playground": (36, 12),
    "workshop": (30, 10),
}


def find_class(vocabulary: str, name: str) -> VocabularyClass:
    """One class of a built-in vocabulary."""
    found = find_vocabulary(vocabulary)
    return found.classes[found.class_index(name)]


def test_the_built_in_vocabularies_are_those_of_the_public_class_lists() -> None:
    assert builtin_vocabularies() == tuple(sorted(THINGS_AND_STUFF))


@pytest.mark.parametrize("name", THINGS_AND_STUFF)
def test_a_built_in_vocabulary_is_complete_and_has_no_errors(name: str) -> None:
    vocabulary = find_vocabulary(name)
    kinds = [c.is_thing for c in vocabulary.classes]
    assert vocabulary.name == name
    assert (sum(kinds), kinds.count(False)) == THINGS_AND_STUFF[name]
    assert [f for f in lint_vocabulary(vocabulary) if f.level == "error"] == []


@pytest.mark.parametrize(
    "name", sorted({*THINGS_AND_STUFF} - {"coco-panoptic", "fc-clip-coco", "cityscapes"})
)
def test_ids_count_from_1_where_the_public_list_does(name: str) -> None:
    ids = [c.category_id for c in find_vocabulary(name).classes]
    assert ids == list(range(1, len(ids) + 1))


@pytest.mark.parametrize("name", ["coco-panoptic", "fc-clip-coco"])
def test_ids_of_coco_have_its_gaps(name: str) -> None:
    ids = [c.category_id for c in find_vocabulary(name).classes]
    assert ids == sorted(set(ids))
    assert (ids[0], ids[79], ids[80], ids[-1]) == (1, 90, 92, 200)
    assert not {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91} & set(ids)


def test_ids_of_cityscapes_are_its_label_ids() -> None:
    ids = [c.category_id for c in find_vocabulary("cityscapes").classes]
    assert ids == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


@pytest.mark.parametrize(
    ("vocabulary", "name", "category_id", "is_thing"),
    [
        ("coco-panoptic", "person", 1, True),
        ("coco-panoptic", "dining table", 67, True),
        ("coco-panoptic", "toothbrush", 90, True),
        ("coco-panoptic", "brick wall", 171, False),
        ("coco-panoptic", "tree", 184, False),
        ("coco-panoptic", "rug", 200, False),
        ("ade20k-150", "wall", 1, False),
        ("ade20k-150", "window", 9, True),
        ("ade20k-150", "plant", 18, False),
        ("ade20k-150", "pole", 94, True),
        ("ade20k-150", "tent", 115, False),
        ("ade20k-150", "flag", 150, True),
        ("ade20k-847", "tent", 140, False),
        ("ade20k-847", "handbag", 253, True),
        ("ade20k-847", "cliff", 54, False),
        ("ade20k-847", "adding machine", 847, True),
        ("lvis", "aerosol can", 1, True),
        ("lvis", "ribbon bow", 137, True),
        ("lvis", "zucchini", 1203, True),
        ("cityscapes", "rider", 25, True),
        ("cityscapes", "vegetation", 21, False),
        ("pascal-context-59", "aeroplane", 1, True),
        ("pascal-context-59", "wood", 59, False),
        ("pascal-context-459", "accordion", 1, True),
        ("pascal-context-459", "sky", 360, False),
        ("pascal-context-459", "wool", 459, False),
    ],
)
def test_a_class_has_its_official_id_and_kind(
    vocabulary: str, name: str, category_id: int, is_thing: bool
) -> None:
    entry = find_class(vocabulary, name)
    assert (entry.category_id, entry.is_thing) == (category_id, is_thing)


def test_classes_of_ade20k_150_keep_their_kind_among_the_847() -> None:
    small, large = find_vocabulary("ade20k-150"), find_vocabulary("ade20k-847")
    kinds = {c.name: c.is_thing for c in large.classes}
    shared = [c for c in small.classes if c.name in kinds]
    assert len(shared) == 147
    assert all(c.is_thing == kinds[c.name] for c in shared)


def test_names_are_plain_words() -> None:
    names = [n for v in THINGS_AND_STUFF for c in find_vocabulary(v).classes for n in c.all_names]
    assert not [n for n in names if "_" in n or "(" in n or n != n.strip()]
    assert "sofa" in find_class("coco-panoptic", "couch").synonyms


@pytest.mark.parametrize("world", [PLAYGROUND, WORKSHOP], ids=lambda w: w.name)
def test_the_classes_of_a_world_are_found_by_its_name(world: World) -> None:
    assert find_vocabulary(world.name) == world.vocabulary


def test_a_built_in_name_comes_before_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cityscapes").write_text("classes: [{name: cat, kind: thing}]")
    assert len(find_vocabulary("cityscapes")) == 19
    assert find_vocabulary("./cityscapes").classes[0].name == "cat"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("coco", "coco-panoptic"), ("ade20k-15", "ade20k-150"), ("LVIS-v1", None), ("lviss", "lvis")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str | None) -> None:
    hint = f"did you mean '{nearest}'" if nearest else "check the name or the path"
    with pytest.raises(VocabularyError, match=rf"cityscapes.*got '{name}'; {hint}") as caught:
        find_vocabulary(name)
    assert "\n" not in str(caught.value)


def test_a_missing_yaml_file_is_refused_as_a_file() -> None:
    with pytest.raises(VocabularyError, match=r"a vocabulary file at none\.yaml, found none"):
        find_draft("none.yaml")


def test_a_name_with_classes_is_a_selection_of_them_in_the_order_of_the_list() -> None:
    chosen = find_vocabulary("coco-panoptic:car, person")
    assert chosen.name == "coco-panoptic:car,person"
    assert [(c.category_id, c.name) for c in chosen.classes] == [(1, "person"), (3, "car")]


def test_classes_can_be_selected_from_a_file_whose_path_has_a_colon(tmp_path: Path) -> None:
    path = tmp_path / "a:b.yaml"
    path.write_text("classes: [{name: cup, kind: thing}, {name: floor, kind: stuff}]")
    assert len(find_vocabulary(str(path))) == 2
    assert [c.name for c in find_vocabulary(f"{path}:floor").classes] == ["floor"]


def test_an_unknown_class_of_a_selection_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(VocabularyError, match="no class 'preson'; did you mean 'person'"):
        find_vocabulary("coco-panoptic:preson")
