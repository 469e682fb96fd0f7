"""What `possam vocabulary` prints: the built-in vocabularies, one vocabulary, or its findings."""

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from possam_core.vocabulary.builtin import builtin_vocabularies, find_draft, find_vocabulary
from possam_core.vocabulary.vocabulary import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """What to fix in one vocabulary."""

    vocabulary: str
    num_classes: int
    findings: tuple[Finding, ...]  # errors first
    skipped: str = ""  # a sentence about a requested check that was not made

    @property
    def has_errors(self) -> bool:
        """Whether a finding makes the vocabulary unusable or a class unreachable."""
        return any(f.level == "error" for f in self.findings)

    def to_text(self) -> str:
        """A line for each finding, and one with their counts."""
        num_errors = sum(f.level == "error" for f in self.findings)
        total = (
            f"{self.vocabulary}: classes {self.num_classes:,}, errors {num_errors:,},"
            f" warnings {len(self.findings) - num_errors:,}"
        )
        lines = [*(f"{f.level}: {f}" for f in self.findings), self.skipped, total]
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularySize:
    """How many classes a built-in vocabulary has."""

    name: str
    classes: int
    things: int
    stuff: int


def vocabulary_sizes() -> list[VocabularySize]:
    """The size of each built-in vocabulary."""
    sizes = []
    for name in builtin_vocabularies():
        kinds = [c.is_thing for c in find_vocabulary(name).classes]
        things = sum(kinds)
        sizes.append(
            VocabularySize(name=name, classes=len(kinds), things=things, stuff=len(kinds) - things)
        )
    return sizes


def list_vocabularies() -> Table:
    """The built-in vocabularies and how many classes each has, for a terminal."""
    table = Table("name")
    for column in ("classes", "things", "stuff"):
        table.add_column(column, justify="right")
    for size in vocabulary_sizes():
        table.add_row(size.name, *(f"{n:,}" for n in (size.classes, size.things, size.stuff)))
    return table


def show_vocabulary(source: str) -> Table:
    """The classes of the vocabulary with the name or path `source`, for a terminal.

    Raises:
        VocabularyError: there is no such vocabulary, or it is invalid.
    """
    vocabulary = find_vocabulary(source)
    has_parents = any(c.parent for c in vocabulary.classes)
    table = Table(title=Text(vocabulary.name))
    table.add_column("id", justify="right")
    for column in ("name", "kind", "synonyms", *(("parent",) if has_parents else ())):
        table.add_column(column)
    for entry in vocabulary.classes:
        kind, synonyms = "thing" if entry.is_thing else "stuff", ", ".join(entry.synonyms)
        cells = [str(entry.category_id), entry.name, kind, synonyms]
        table.add_row(*map(Text, [*cells, *([entry.parent or ""] if has_parents else [])]))
    return table


def lint(source: str, *, model: str | None = None) -> LintReport:
    """What to fix in the vocabulary with the name or path `source`.

    Args:
        source: built-in name, or path of a YAML file.
        model: bundled name or path of a checkpoint whose CLIP finds near-duplicates.

    Raises:
        VocabularyError: there is no such vocabulary, or it cannot be read at all.
        CheckpointError: `model` is unknown or damaged.
    """
    # Importing it takes seconds, which `list` and `show` do not need.
    from possam_core.vocabulary.lint import lint_vocabulary

    draft = find_draft(source)
    vocabulary = None if draft.mistakes else draft.finish()
    text, skipped = None, ""
    if model is not None and vocabulary is None:
        skipped = "near-duplicates were not checked: fix the errors first"
    elif model is not None and vocabulary is not None:
        from possam_core.checkpoints.weights import load_model

        text = load_model(model).clip.embed_vocabulary(vocabulary)
    return LintReport(
        vocabulary=draft.name,
        num_classes=len(draft.classes),
        findings=tuple(lint_vocabulary(draft, text)),
        skipped=skipped,
    )
