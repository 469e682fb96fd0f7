"""Select the images that get a picture if there are too many: the worst, and a random sample."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

WORST, SAMPLE, NEITHER = range(3)
KIND_NAMES = ("the worst", "random sample", "none")
SLACK = 8192  # candidates that may be pending before pruning


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An image that could get a picture."""

    badness: tuple[Any, ...]  # the least is shown first
    image_id: str
    row: int  # in the index
    shard: int
    position: int  # in the shard
    mark: str = ""  # of its labels: with others, it is another

    @property
    def draw(self) -> bytes:
        """A pseudo-random number that depends only on the image id."""
        return hashlib.blake2b(self.image_id.encode("utf-8", "replace"), digest_size=8).digest()


@dataclass(slots=True)
class Selection:
    """Selects from a stream of candidates, keeping few more in memory than it will choose."""

    size: int
    num_seen: int = 0
    _worst: list[Candidate] = field(default_factory=list)
    _drawn: list[Candidate] = field(default_factory=list)

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Consider more candidates."""
        new = list(candidates)
        self.num_seen += len(new)
        self._worst += new
        self._drawn += new
        if len(self._worst) > 2 * self.size + SLACK:
            self._prune()

    def _prune(self) -> None:
        self._worst = nsmallest(self.size, self._worst, key=_order)
        self._drawn = nsmallest(self.size, self._drawn, key=lambda c: (c.draw, c.row))

    @property
    def is_all(self) -> bool:
        """Whether every candidate is chosen."""
        return self.num_seen <= self.size

    @property
    def num_worst(self) -> int:
        """The number chosen as the worst: half, unless there is room for all."""
        return self.num_seen if self.is_all else (self.size + 1) // 2

    def chosen(self) -> list[tuple[Candidate, int]]:
        """The worst and a sample of the others, each with its kind, worst first."""
        self._prune()
        worst = self._worst[: self.num_worst]
        known = {candidate.row for candidate in worst}
        others = [c for c in self._drawn if c.row not in known][: self.size - len(worst)]
        kinds = [(c, WORST) for c in worst] + [(c, SAMPLE) for c in others]
        return sorted(kinds, key=lambda item: _order(item[0]))

    def describe(self, superlative: str = "worst") -> str:
        """A sentence about the selection, for the page."""
        if not self.num_seen:
            return "No image has labels."
        if self.is_all:
            return "Every labelled image has a picture."
        num_sampled = self.size - self.num_worst
        num_others = self.num_seen - self.num_worst
        return (
            f"Of {self.num_seen:,} labelled images {self.size:,} have a picture: the"
            f" {self.num_worst:,} {superlative} and {num_sampled:,} drawn at random from the other"
            f" {num_others:,}. The index lists all."
        )


def _order(candidate: Candidate) -> tuple[Any, ...]:
    return (*candidate.badness, candidate.image_id, candidate.row)
