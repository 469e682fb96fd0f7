"""Finds a vocabulary by built-in name or path.

Each YAML file beside this one is a built-in vocabulary, in the format of a user's own file.
"""

from importlib import resources
from pathlib import Path

from possam_core.errors import VocabularyError, nearest
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyDraft, load_draft

YAML_SUFFIXES = (".yaml", ".yml")
SELECTION_SIGN = ":"  # no class has it in its name


def builtin_vocabularies() -> tuple[str, ...]:
    """Names of the vocabularies that ship in the package."""
    return tuple(sorted(_files()))


def find_vocabulary(source: str) -> Vocabulary:
    """The built-in vocabulary called `source`, or the one in the YAML file `source`.

    `coco-panoptic:person,car` is a selection of its classes.

    Raises:
        VocabularyError: there is none, or something is wrong with it.
    """
    whole, sign, names = source.rpartition(SELECTION_SIGN)
    is_selection = sign and (whole in builtin_vocabularies() or whole.endswith(YAML_SUFFIXES))
    if not is_selection or Path(source).is_file():
        return find_draft(source).finish()
    vocabulary = find_draft(whole).finish()
    chosen = [name.strip() for name in names.split(",")]
    return vocabulary.subset(chosen, name=f"{vocabulary.name}{SELECTION_SIGN}{','.join(chosen)}")


def find_draft(source: str) -> VocabularyDraft:
    """The same as far as it can be read, with every mistake in it.

    Raises:
        VocabularyError: there is no such vocabulary; the message proposes the nearest name.
    """
    files = _files()
    if source in files:
        return load_draft(files[source])
    if source.endswith(YAML_SUFFIXES) or Path(source).is_file():
        return load_draft(Path(source))
    builtin = builtin_vocabularies()
    hint = nearest(source, builtin, otherwise="check the name or the path")
    raise VocabularyError(
        f"expected a built-in vocabulary ({', '.join(builtin)}) or a YAML file, got {source!r};"
        f" {hint}"
    )


def _files() -> dict[str, Path]:
    """The shipped YAML files, by the name of their vocabulary."""
    folder = Path(str(resources.files(__package__) / "lists"))
    return {file.stem: file for file in folder.glob("*.yaml")}
