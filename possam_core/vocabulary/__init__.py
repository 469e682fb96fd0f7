"""Vocabularies: classes in plain words, the built-in lists, and the linter."""
