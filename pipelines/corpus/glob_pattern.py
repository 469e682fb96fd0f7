"""Matches paths with a glob: `*`, `?` and `[ab]` match within a name, `**` across folders."""

import re
from collections.abc import Iterable
from fnmatch import translate
from pathlib import Path

WILDCARDS = "*?["


class GlobPattern:
    """Matches a path name by name; a state is the number of parts of the pattern matched so far."""

    def __init__(self, pattern: str) -> None:
        self._parts = tuple(
            None if part == "**" else re.compile(translate(part)) for part in pattern.split("/")
        )

    def matches(self, path: str) -> bool:
        """Whether `path` matches."""
        return len(self._parts) in self._follow(path)

    def may_hold(self, folder: str) -> bool:
        """Whether a path below `folder` can match."""
        return any(state < len(self._parts) for state in self._follow(folder))

    def ends_in(self, folder: str) -> bool:
        """Whether only paths directly in `folder` can match, none deeper."""
        last = len(self._parts) - 1
        return self._parts[last] is not None and self._follow(folder) <= {last, last + 1}

    def _follow(self, path: str) -> set[int]:
        states = self._skip_folders({0})
        for name in path.split("/"):
            states = self._skip_folders(self._step(states, name))
        return states

    def _step(self, states: set[int], name: str) -> Iterable[int]:
        for state in states:
            if state < len(self._parts):
                part = self._parts[state]
                if part is None:
                    yield state
                elif part.match(name):
                    yield state + 1

    def _skip_folders(self, states: Iterable[int]) -> set[int]:
        """Also the states after each `**`, which may match no folder at all."""
        reached: set[int] = set()
        for state in states:
            reached.add(state)
            while state < len(self._parts) and self._parts[state] is None:
                state += 1
                reached.add(state)
        return reached


def split_glob(address: str) -> tuple[str, bool]:
    """The text before the first wildcard, and whether there is one."""
    wild = next((i for i, letter in enumerate(address) if letter in WILDCARDS), None)
    return address[:wild], wild is not None


def folder_of(images: str) -> str:
    """The path of a whole corpus: the folder or file itself, or the folder before the wildcards."""
    literal, is_glob = split_glob(images)
    return literal.rpartition("/")[0] if is_glob and not Path(images).exists() else images
