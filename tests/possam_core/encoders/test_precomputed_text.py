import pytest
import torch

from possam_core.encoders.clip import ClipConfig, ClipEncoder
from possam_core.encoders.precomputed_text import precomputed_text
from possam_core.errors import VocabularyError
from possam_core.predictor import Predictor
from possam_core.vocabulary.vocabulary import Vocabulary
from tests.factories import make_pixels, small_model

VOCABULARY = Vocabulary.from_records(
    "kitchen",
    [
        {"name": "cup", "kind": "thing", "synonyms": ["mug"]},
        {"name": "floor", "kind": "stuff"},
    ],
)
NAMES = ("floor", "sky", "mug", "cup")
ROWS = torch.tensor([[0.0, 2.0], [1.0, 1.0], [3.0, 4.0], [5.0, 0.0]])


@pytest.fixture(scope="module")
def clip() -> ClipEncoder:
    config = ClipConfig(embed_dim=2, text_width=16, text_heads=2, text_layers=1)
    return ClipEncoder(config, image_size=48)


def test_rows_go_to_the_classes_of_their_names_and_are_normalised(clip: ClipEncoder) -> None:
    text = precomputed_text(clip, VOCABULARY, NAMES, ROWS)
    expected = torch.tensor(
        [[0.0, 1.0], [0.6, 0.8], [1.0, 0.0]]
    )  # the sky is not in the vocabulary
    torch.testing.assert_close(text.embeddings, expected)
    assert text.class_of_name.tolist() == [1, 0, 0]
    assert text.num_classes == 2


def test_the_most_similar_of_several_rows_of_a_class_counts(clip: ClipEncoder) -> None:
    text = precomputed_text(clip, VOCABULARY, NAMES, ROWS)
    torch.testing.assert_close(
        text.class_logits(torch.tensor([[4.0, 3.0]])), torch.tensor([[0.96, 0.6]])
    )


def test_a_name_of_one_class_is_not_taken_for_the_synonym_of_another(clip: ClipEncoder) -> None:
    records = [
        {"name": "rock", "kind": "stuff", "synonyms": ["stone"]},
        {"name": "stone", "kind": "thing", "synonyms": ["rock"]},
    ]
    vocabulary = Vocabulary.from_records("quarry", records)
    text = precomputed_text(clip, vocabulary, ("stone", "rock"), torch.eye(2))
    assert text.class_of_name.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (NAMES[:3], ROWS, r"shape \(3, 2\).*got \(4, 2\)"),
        (NAMES, torch.ones(4, 3), r"shape \(4, 2\).*got \(4, 3\)"),
        (NAMES, ROWS * torch.tensor([[1.0], [1.0], [0.0], [1.0]]), "'mug' has the length 0.0"),
        (NAMES, ROWS / torch.tensor([[1.0], [0.0], [1.0], [1.0]]), "'sky' has the length inf"),
        (NAMES[1:], ROWS[1:], "1 have none, such as 'floor'"),
    ],
)
def test_unusable_rows_are_refused(
    clip: ClipEncoder, names: tuple[str, ...], rows: torch.Tensor, message: str
) -> None:
    with pytest.raises(VocabularyError, match=message):
        precomputed_text(clip, VOCABULARY, names, rows)


def test_a_predictor_uses_the_given_embeddings() -> None:
    model = small_model().eval()
    vocabulary = model.card.vocabulary
    own = model.clip.embed_vocabulary(vocabulary)
    names = [vocabulary.classes[i].name for i in own.class_of_name.tolist()]
    renamed = {c.name: vocabulary.classes[i - 1].name for i, c in enumerate(vocabulary.classes)}
    swapped = precomputed_text(
        model.clip, vocabulary, [renamed[n] for n in names], 3 * own.embeddings
    )
    (by_own,) = Predictor(model)([make_pixels()])
    (by_swapped,) = Predictor(model, text=swapped)([make_pixels()])
    names_by_own = {s.category_name for s in by_own.segments}
    assert {s.category_name for s in by_swapped.segments} == {renamed[n] for n in names_by_own}


def test_embeddings_of_another_vocabulary_are_refused() -> None:
    model = small_model()
    few = model.card.vocabulary.subset(("apple", "star"), name="few")
    with pytest.raises(VocabularyError, match="48 classes of 'playground', got those of 2"):
        Predictor(model, text=model.clip.embed_vocabulary(few))
