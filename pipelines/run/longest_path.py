"""Pair the paths of two lists by their longest common end.

`day/a.jpg` is `/data/day/a.jpg` rather than `/data/night/a.jpg`; `a.jpg` may be either, which is a
tie. Where folders tell some of one name apart, another in a folder of its own is none of them.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pipelines.storage.addresses import is_http

SEPARATORS = re.compile(r"[/\\#]")  # the last precedes a member of a container

Path = tuple[str, ...]
Bucket = tuple[list[int], list[int]]  # positions of paths with one end, in either list


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Positions in two lists of paths."""

    pairs: Mapping[int, int]  # in the first -> in the second
    tie: Bucket | None = None  # paths that fit equally well, if there are any


def path_of(address: str) -> Path:
    """The parts of a path or address; those of a web address without its query."""
    if is_http(address):
        url = urlsplit(address)
        address = f"{url.netloc}/{unquote(url.path)}"
    return tuple(part for part in SEPARATORS.split(address) if part) or ("",)


def pair_paths(names: Sequence[Path], others: Sequence[Path]) -> Pairing:
    """The pairs with the longest common ends; the last parts, at least, are equal in a pair."""
    pairs: dict[int, int] = {}
    for mine, theirs in _buckets(names, others, range(len(names)), range(len(others)), 1):
        if len(mine) == len(theirs) == 1:
            pairs[mine[0]] = theirs[0]
        elif mine and theirs:
            found = _Twins(names, others).pair(mine, theirs)
            pairs |= found.pairs
            if found.tie is not None:
                return Pairing(pairs=pairs, tie=found.tie)
    return Pairing(pairs=pairs)


def _buckets(
    names: Sequence[Path],
    others: Sequence[Path],
    mine: Sequence[int],
    theirs: Sequence[int],
    length: int,
) -> Iterator[Bucket]:
    """The positions of the paths with each end of `length` parts."""
    buckets: dict[Path, Bucket] = defaultdict(lambda: ([], []))
    for side, (paths, positions) in enumerate(((names, mine), (others, theirs))):
        for position in positions:
            if len(paths[position]) >= length:
                buckets[paths[position][-length:]][side].append(position)
    yield from buckets.values()


class _Twins:
    """Pairs paths that have one last part."""

    def __init__(self, names: Sequence[Path], others: Sequence[Path]) -> None:
        self.names, self.others = names, others
        self.pairs: dict[int, int] = {}
        self.taken: set[int] = set()
        self.roots: set[tuple[Path, Path]] = set()  # what precedes the common ends of pairs

    def pair(self, mine: Sequence[int], theirs: Sequence[int]) -> Pairing:
        """The pairs of the names at `mine` with the others at `theirs`, the longest ends first."""
        for length in range(max(len(self.names[i]) for i in mine), 0, -1):
            for near, far in _buckets(self.names, self.others, mine, theirs, length):
                free = [i for i in near if i not in self.pairs]
                left = [j for j in far if j not in self.taken]
                if len(free) < len(near):  # folders tell images apart, so the rest are others
                    self._pair_at_roots(free, left, length)
                elif len(free) == len(left) == 1:
                    self._add(free[0], left[0], length)
                elif free and left:
                    return Pairing(pairs=self.pairs, tie=(free, left))
        return Pairing(pairs=self.pairs)

    def _pair_at_roots(self, free: Sequence[int], left: Sequence[int], length: int) -> None:
        """Pair the names that are below the same folders as a pair before them."""
        places = {self.others[j]: j for j in left}
        for i in free:
            above, end = self.names[i][:-length], self.names[i][-length:]
            beside = {places.get(theirs + end) for mine, theirs in self.roots if mine == above}
            found = [j for j in beside if j is not None and j not in self.taken]
            if len(found) == 1:
                self._add(i, found[0], length)

    def _add(self, i: int, j: int, length: int) -> None:
        self.pairs[i] = j
        self.taken.add(j)
        self.roots.add((self.names[i][:-length], self.others[j][:-length]))
