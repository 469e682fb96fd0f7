"""Finds what is legal in a vocabulary and still degrades labels: twins, odd names, near-twins.

Axes: N names (a class has one or more).
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from possam_core.errors import VocabularyError
from possam_core.vocabulary.text_embeddings import TextEmbeddings
from possam_core.vocabulary.vocabulary import Finding, Vocabulary, VocabularyClass, VocabularyDraft

NEAR_DUPLICATE = 0.95  # cosine above which CLIP hardly distinguishes two names
LONGEST_NAME = 50  # characters
VOID_NAMES = ("void", "background", "unlabeled", "unlabelled")
CHUNK = 1024  # names that are compared with all others at once

_ODD_CHARACTERS = re.compile(r"[^A-Za-z0-9 .'&-]")
_APART = "keep the name in one of them, or say in words what sets them apart"


def lint_vocabulary(
    vocabulary: Vocabulary | VocabularyDraft,
    text: TextEmbeddings | None = None,
    *,
    threshold: float = NEAR_DUPLICATE,
) -> list[Finding]:
    """Everything to mend in `vocabulary`: errors first, near-duplicates last and nearest first.

    Args:
        text: what `ClipEncoder.embed_vocabulary` makes of it; None: near-duplicates are not sought.
        threshold: cosine in [-1, 1] above which names of two classes are near-duplicates.
    """
    classes = vocabulary.classes
    mistakes = vocabulary.mistakes if isinstance(vocabulary, VocabularyDraft) else ()
    twins = _Twins(classes)
    findings = [*mistakes, *twins.find(), *(f for c in classes for f in _odd_names(c))]
    if text is not None:
        findings += _near_duplicates(classes, text, threshold, known=twins.pairs)
    return sorted(findings, key=lambda f: f.level)  # stable; "error" sorts before "warning"


class _SimilarNames(NamedTuple):
    cosine: float
    first: int  # positions among all N names; the second is of a later class
    second: int


class _Twins:
    """Names that two classes share, as CLIP reads them or but for plural, hyphens and spaces."""

    def __init__(self, classes: Sequence[VocabularyClass]) -> None:
        self.classes = classes
        self.pairs: set[tuple[int, int]] = set()  # class indices, lower first

    def find(self) -> Iterator[Finding]:
        """A finding for each class that shares a name with an earlier one."""
        as_read: dict[str, tuple[int, str]] = {}  # what CLIP reads -> its first class and name
        alike: dict[str, tuple[int, str]] = {}
        for index, entry in enumerate(self.classes):
            for name in entry.all_names:
                read = " ".join(name.lower().split())
                first = as_read.setdefault(read, (index, name))
                near = alike.setdefault(_singular(re.sub(r"[\s_-]", "", read)), (index, name))
                if first[0] != index:
                    yield from self._report(index, name, *first, is_same=True)
                elif near[0] != index:
                    yield from self._report(index, name, *near, is_same=False)

    def _report(
        self, index: int, name: str, other_index: int, other_name: str, *, is_same: bool
    ) -> Iterator[Finding]:
        pair = (other_index, index)
        entry, other = self.classes[index], self.classes[other_index]
        if pair in self.pairs or entry.name == other.name:  # equal names are a mistake already
            return
        self.pairs.add(pair)
        twin = f"{other_name!r} of class {other.name!r}"
        yield Finding(
            level="error" if is_same else "warning",
            class_name=entry.name,
            sentence=f"its name {name!r} is the same to CLIP as {twin}"
            if is_same
            else f"its name {name!r} differs from {twin} in plural, hyphens or spaces alone",
            remedy=_APART,
        )


def _singular(word: str) -> str:
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _odd_names(entry: VocabularyClass) -> Iterator[Finding]:
    for name in entry.all_names:
        if len(name) > LONGEST_NAME:
            sentence = f"its name {name!r} has {len(name)} characters"
            yield _warning(entry, sentence, "CLIP knows short names best: a noun and what marks it")
        if odd := sorted(set(_ODD_CHARACTERS.findall(name))):
            has_list = odd == [","]
            remedy = "write several names as synonyms" if has_list else "write it in plain words"
            yield _warning(entry, f"its name {name!r} has {' '.join(map(repr, odd))}", remedy)
        if name.strip().lower() in VOID_NAMES:
            sentence = f"its name {name!r} is that of what belongs to no class"
            yield _warning(entry, sentence, "leave it out: pixels of no class become void anyway")


def _near_duplicates(
    classes: Sequence[VocabularyClass],
    text: TextEmbeddings,
    threshold: float,
    *,
    known: set[tuple[int, int]],
) -> list[Finding]:
    names = [(c, n) for c in classes for n in c.all_names]
    if len(names) != len(text.embeddings):
        raise VocabularyError(
            f"expected text embeddings of the {len(names)} names in this vocabulary, got"
            f" {len(text.embeddings)}; embed this one"
        )
    class_of_name = text.class_of_name.tolist()
    nearest: dict[tuple[int, int], _SimilarNames] = {}  # pair of classes -> its most similar names
    for similar in _similar_names(text, threshold):
        pair = (class_of_name[similar.first], class_of_name[similar.second])
        if pair not in known and (pair not in nearest or similar.cosine > nearest[pair].cosine):
            nearest[pair] = similar
    findings = []
    for similar in sorted(nearest.values(), key=lambda s: -s.cosine):  # stable: then by class
        (first, first_name), (second, second_name) = names[similar.first], names[similar.second]
        sentence = (
            f"its name {second_name!r} is close to {first_name!r} of class {first.name!r} in CLIP"
            f" (cosine {similar.cosine:.3f})"
        )
        findings.append(_warning(second, sentence, _APART))
    return findings


def _similar_names(text: TextEmbeddings, threshold: float) -> Iterator[_SimilarNames]:
    """Pairs of names of two classes with a cosine above `threshold`, in order of the first."""
    embeddings, class_of_name = text.embeddings, text.class_of_name
    for start in range(0, len(embeddings), CHUNK):
        cosines = embeddings[start : start + CHUNK] @ embeddings.T  # (CHUNK or fewer, N)
        is_later_class = class_of_name > class_of_name[start : start + CHUNK, None]
        rows, columns = torch.nonzero((cosines > threshold) & is_later_class, as_tuple=True)
        found = zip(cosines[rows, columns].tolist(), rows.tolist(), columns.tolist(), strict=True)
        yield from (_SimilarNames(cosine, start + row, column) for cosine, row, column in found)


def _warning(entry: VocabularyClass, sentence: str, remedy: str) -> Finding:
    return Finding(level="warning", class_name=entry.name, sentence=sentence, remedy=remedy)
