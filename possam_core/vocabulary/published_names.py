"""Classes by the names under which data sets and models are published.

They are COCO's names of stuff (`floor-other-merged`) and ADE20K's lists (`road, route`).
"""

import re
from collections.abc import Sequence
from functools import cache

from possam_core.vocabulary.builtin import SELECTION_SIGN, find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary

ENDINGS = re.compile(r"(-other)?(-merged|-stuff)?$")  # of COCO's stuff
# Names in COCO and ADE20K of the few classes that have other names in our vocabularies.
PUBLISHED_NAMES = {
    "blind": "window blind",
    "falls": "waterfall",
    "floor wood": "wooden floor",
    "playingfield": "playing field",
    "pool": "swimming pool",
    "screen": "projection screen",
    "trade name": "brand name",
    "tub": "bathtub",
    "wall brick": "brick wall",
    "wall stone": "stone wall",
    "wall tile": "tiled wall",
    "wall wood": "wooden wall",
}
# Vocabularies with the classes of another, id for id, under names of their own.
SAME_CLASSES = {"fc-clip-coco": "coco-panoptic", "fc-clip-ade20k-150": "ade20k-150"}

_builtin = cache(find_vocabulary)  # asked for every category


def find_class(name: str, vocabulary: Vocabulary) -> int | None:
    """The class index of a category by its published name, or None."""
    by_name = {c.name: i for i, c in enumerate(vocabulary.classes)}
    if name not in by_name and (same := _by_same_class(name, vocabulary)) is not None:
        return same
    by_synonym = {n: i for i, c in enumerate(vocabulary.classes) for n in c.synonyms}
    candidates = [part.strip() for part in name.split(",")]
    plain = [ENDINGS.sub("", part).replace("-", " ") for part in candidates]
    renamed = [PUBLISHED_NAMES[part] for part in plain if part in PUBLISHED_NAMES]
    for names, index in (
        (candidates, by_name),
        (plain, by_name),
        (renamed, by_name),
        (candidates + plain, by_synonym),
    ):
        for candidate in names:
            if candidate in index:
                return index[candidate]
    return None


def _by_same_class(name: str, vocabulary: Vocabulary) -> int | None:
    """By the id of the class in the vocabulary that has the same classes."""
    other = SAME_CLASSES.get(vocabulary.name.partition(SELECTION_SIGN)[0])
    if other is None:
        return None
    known = _builtin(other)
    index = find_class(name, known)
    if index is None:
        return None
    ids = [c.category_id for c in vocabulary.classes]
    category_id = known.classes[index].category_id
    return ids.index(category_id) if category_id in ids else None


def match_classes(
    classes: Sequence[Sequence[str]], vocabulary: Vocabulary
) -> tuple[int | None, ...]:
    """Per class, given by its names, the index of the same class; None: there is none.

    First names go before synonyms, and no class is the same as two.
    """
    result: list[int | None] = [None] * len(classes)
    for tried in (slice(1), slice(1, None)):
        for position, names in enumerate(classes):
            found = {find_class(name, vocabulary) for name in names[tried]} - {None, *result}
            if result[position] is None and len(found) == 1:
                result[position] = found.pop()
    return tuple(result)
