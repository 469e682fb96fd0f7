"""Text embeddings that another program made: a matrix of rows, and a name for each row.

They replace the model's text tower, for a CLIP whose text tower is not available, or for tuned
embeddings. A head works only with embeddings of the CLIP it was trained with.

Axes: N rows, D joint width.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from possam_core.encoders.clip import ClipEncoder
from possam_core.errors import VocabularyError
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Vocabulary


def precomputed_text(
    clip: ClipEncoder, vocabulary: Vocabulary, names: Sequence[str], rows: Float[Tensor, "N D"]
) -> TextEmbeddings:
    """The rows of the classes of `vocabulary`, normalised, on the device of `clip`.

    A row belongs to the class with exactly its name, as name or else as synonym; rows of other
    names are ignored. A class may have several rows; the most similar one counts.

    Args:
        clip: of the model that they are for.
        vocabulary: classes to find rows for.
        names: of the rows.
        rows: need not be normalised.

    Raises:
        VocabularyError: the numbers of rows and names differ, the rows are not as wide as the
            embeddings of `clip`, a row is zero or non-finite, or a class has no row.
    """
    width = clip.config.embed_dim
    if rows.shape != (len(names), width):
        raise VocabularyError(
            f"expected text embeddings of the shape {(len(names), width)}, a row for each name and"
            f" as wide as the model's, got {tuple(rows.shape)}; take those of the model's own CLIP"
        )
    lengths = rows.double().norm(dim=-1)
    for name, length in zip(names, lengths.tolist(), strict=True):
        if not 0 < length < torch.inf:
            raise VocabularyError(
                f"expected text embeddings with a direction, but that of {name!r} has the length"
                f" {length}; compute it again"
            )
    class_of = _class_of_name(vocabulary)
    kept = [row for row, name in enumerate(names) if name in class_of]
    class_of_name = [class_of[names[row]] for row in kept]
    missing = [c.name for i, c in enumerate(vocabulary.classes) if i not in set(class_of_name)]
    if missing:
        raise VocabularyError(
            f"expected a text embedding for every class of {vocabulary.name!r}, but"
            f" {len(missing)} have none, such as {missing[0]!r}; add rows with their names"
        )
    device = clip.pixel_mean.device
    return TextEmbeddings(
        functional.normalize(rows[kept].float(), dim=-1).to(device),
        torch.tensor(class_of_name, device=device),
        len(vocabulary),
    )


def _class_of_name(vocabulary: Vocabulary) -> dict[str, int]:
    by_synonym = {n: i for i, c in enumerate(vocabulary.classes) for n in c.synonyms}
    return by_synonym | {c.name: i for i, c in enumerate(vocabulary.classes)}
