"""The vocabularies that ship in the package, by name."""

from possam_core.vocabularies.builtin import builtin_vocabularies, find_draft, find_vocabulary

__all__ = ["builtin_vocabularies", "find_draft", "find_vocabulary"]
