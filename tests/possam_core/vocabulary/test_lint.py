import pytest
import torch

from possam_core.checkpoints.weights import load_model
from possam_core.errors import VocabularyError
from possam_core.playground import PLAYGROUND
from possam_core.vocabulary.lint import lint_vocabulary
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Finding, Vocabulary, VocabularyClass, VocabularyDraft


def lint_names(*classes: tuple[str, ...]) -> list[Finding]:
    """Findings in a vocabulary of things with these names and synonyms."""
    return lint_vocabulary(make_vocabulary(*classes))


def make_vocabulary(*classes: tuple[str, ...]) -> Vocabulary:
    """Things with these names and synonyms."""
    return Vocabulary(
        name="things",
        classes=tuple(
            VocabularyClass(category_id=i, name=name, is_thing=True, synonyms=synonyms)
            for i, (name, *rest) in enumerate(classes, start=1)
            for synonyms in [tuple(rest)]
        ),
    )


def make_text(rows: list[list[float]], class_of_name: list[int]) -> TextEmbeddings:
    """Normalised embeddings of names, by hand."""
    embeddings = torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)
    return TextEmbeddings(embeddings, torch.tensor(class_of_name), max(class_of_name) + 1)


def test_a_sound_vocabulary_has_no_findings() -> None:
    assert lint_vocabulary(PLAYGROUND.vocabulary) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("cup", "Cup"), ("coffee cup", "coffee  cup"), ("mug", "MUG ")],
)
def test_names_that_clip_reads_as_one_are_an_error(first: str, second: str) -> None:
    (finding,) = lint_names((first,), (second,))
    assert (finding.level, finding.class_name) == ("error", second)
    assert f"{second!r} is the same to CLIP as {first!r}" in finding.sentence


def test_a_synonym_of_two_classes_is_an_error() -> None:
    (finding,) = lint_names(("couch", "sofa"), ("armchair",), ("settee", "sofa"))
    assert str(finding) == (
        "class 'settee': its name 'sofa' is the same to CLIP as 'sofa' of class 'couch'; keep the"
        " name in one of them, or say in words what sets them apart"
    )
    assert finding.level == "error"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cup", "cups"),
        ("post box", "postbox"),
        ("post-box", "post box"),
        ("glass", "glasses"),
        ("brush", "Brushes"),
        ("wine_glass", "wine glasses"),
    ],
)
def test_names_that_differ_in_plural_hyphens_or_spaces_are_a_warning(
    first: str, second: str
) -> None:
    findings = [f for f in lint_names((first,), (second,)) if "differs" in f.sentence]
    assert [(f.level, f.class_name) for f in findings] == [("warning", second)]


def test_names_of_one_class_may_be_alike() -> None:
    assert lint_names(("cup", "cups", "Cup"), ("glass",)) == []


def test_two_classes_that_share_several_names_are_reported_once() -> None:
    assert len(lint_names(("couch", "sofa", "settee"), ("seat", "sofa", "settee"))) == 1


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a thing that is described by far too many words here", "has 52 characters"),
        ("wall_brick", "has '_'"),
        ("cup, mug", "write several names as synonyms"),
        ("猫", "has '猫'"),
        ("Background", "belongs to no class"),
        ("void", "pixels of no class become void"),
    ],
)
def test_an_odd_name_is_a_warning(name: str, part: str) -> None:
    (finding,) = lint_names((name,))
    assert finding.level == "warning"
    assert part in str(finding)


def test_every_class_without_a_kind_is_reported_at_once_and_still_compared() -> None:
    records = [{"name": "cup"}, {"name": "sky", "kind": "stuff"}, {"name": "cups"}]
    findings = lint_vocabulary(VocabularyDraft.from_records("mine", records))
    assert [(f.level, f.class_name) for f in findings] == [
        ("error", "cup"),
        ("error", "cups"),
        ("warning", "cups"),
    ]


def test_near_duplicates_in_clip_come_nearest_first_and_one_a_pair_of_classes() -> None:
    vocabulary = make_vocabulary(("couch", "settee"), ("lamp",), ("davenport", "divan"))
    text = make_text(
        [[1, 0, 0], [1, 0.1, 0], [0, 1, 0.2], [1, 0.01, 0], [0, 1, 0]], [0, 0, 1, 2, 2]
    )
    findings = lint_vocabulary(vocabulary, text)
    assert [f.class_name for f in findings] == ["davenport", "davenport"]
    assert "'davenport' is close to 'couch' of class 'couch'" in findings[0].sentence
    assert "cosine 1.000" in findings[0].sentence
    assert "'divan' is close to 'lamp'" in findings[1].sentence
    assert "cosine 0.981" in findings[1].sentence
    assert len(lint_vocabulary(vocabulary, text, threshold=0.99)) == 1


def test_a_pair_that_shares_a_name_is_not_reported_again_as_near() -> None:
    vocabulary = make_vocabulary(("cup",), ("Cup",))
    assert len(lint_vocabulary(vocabulary, make_text([[1, 0], [1, 0]], [0, 1]))) == 1


def test_text_of_another_vocabulary_is_refused() -> None:
    with pytest.raises(VocabularyError, match="embeddings of the 2 names"):
        lint_vocabulary(make_vocabulary(("cup",), ("sky",)), make_text([[1, 0]], [0]))


def test_the_near_duplicates_are_those_of_a_real_clip(tiny_model: str) -> None:
    clip = load_model(tiny_model).clip
    vocabulary = make_vocabulary(("red ball",), ("sea",), ("red ball!",))
    text = clip.embed_vocabulary(vocabulary)
    cosine = float(text.embeddings[0] @ text.embeddings[2])
    findings = lint_vocabulary(vocabulary, text, threshold=cosine - 1e-4)
    near = [f for f in findings if f"(cosine {cosine:.3f})" in f.sentence]
    assert [f.class_name for f in near] == ["red ball!"]
