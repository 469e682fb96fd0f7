"""Pairs of rows as columns of the viewer's index."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.compare.comparison import OUTCOMES, readable
from pipelines.compare.image_pair import ImagePair
from pipelines.report.index import SHOWN_GRADES, Names
from pipelines.report.viewer import Facet, FacetValues, Measure, RowBlock
from pipelines.run.grading import shown_grade
from pipelines.schema import Row

LEAST_FLOW = 0.01  # share of an image; smaller changes are not listed
KIND_NAMES = ("changed most", "random sample", "none")

MEASURES = (
    Measure(key="changed", label="changed pixels"),
    Measure(key="pq", label="PQ", kind="percent"),
    Measure(key="score_a", label="mean score in A"),
    Measure(key="score_b", label="mean score in B"),
    Measure(key="segments_a", label="segments in A", kind="count"),
    Measure(key="segments_b", label="segments in B", kind="count"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An image in both runs."""

    a: Row
    b: Row
    labels: ImagePair | None  # None: cannot be compared
    outcome: str

    @property
    def changed(self) -> float | None:
        """Share of the pixels whose class differs."""
        return self.labels.changed if self.labels else None

    @property
    def pq(self) -> float | None:
        """Panoptic quality, in percent."""
        return self.labels.pq if self.labels else None

    @property
    def badness(self) -> tuple[float, float]:
        """Sort key: most changed images first, images that cannot be compared last."""
        if self.changed is None:
            return 1.0, 0.0
        return -self.changed, 100.0 if self.pq is None else self.pq


class PairIndex:
    """Turns pairs of rows into blocks of the index."""

    def __init__(self, base: str, uncalibrated: tuple[str | None, str | None]) -> None:
        """Start an empty index; images below `base` are named relative to it.

        `uncalibrated` says of A and B why their grades promise nothing; None: they do.
        """
        self.base = base
        self._uncalibrated = uncalibrated
        self._names = {"class": Names(), "flow": Names()}

    def add(self, pairs: Sequence[Pair]) -> RowBlock:
        """The columns of some pairs of rows."""
        return RowBlock(
            names=[pair.a["uri"].removeprefix(self.base) for pair in pairs],
            measures={
                "changed": [_rounded(pair.changed, 3) for pair in pairs],
                "pq": [_rounded(pair.pq, 1) for pair in pairs],
                "score_a": [_score(pair.a) for pair in pairs],
                "score_b": [_score(pair.b) for pair in pairs],
                "segments_a": [len(pair.a["segments_info"]) for pair in pairs],
                "segments_b": [len(pair.b["segments_info"]) for pair in pairs],
            },
            facets={
                "outcome": _facet([[OUTCOMES.index(pair.outcome)] for pair in pairs]),
                "grade_a": _facet([_grade(pair.a, self._uncalibrated[0]) for pair in pairs]),
                "grade_b": _facet([_grade(pair.b, self._uncalibrated[1]) for pair in pairs]),
                "flow": _facet([self._flows(pair.labels) for pair in pairs]),
                "class": _facet([self._classes(pair) for pair in pairs]),
            },
            messages={i: texts for i, pair in enumerate(pairs) if any(texts := _failures(pair))},
        )

    def facets(self, *, with_pictures: bool) -> tuple[Facet, ...]:
        """The facets of all rows so far; `with_pictures` adds one for the kind of picture."""
        found = [
            Facet(key="outcome", label="Labelled", names=OUTCOMES, is_ordered=True),
            Facet(key="grade_a", label="Grade in A", names=SHOWN_GRADES, is_ordered=True),
            Facet(key="grade_b", label="Grade in B", names=SHOWN_GRADES, is_ordered=True),
            Facet(key="flow", label="Became", names=tuple(self._names["flow"])),
            Facet(key="class", label="Class in A or B", names=tuple(self._names["class"])),
        ]
        if with_pictures:
            picture = Facet(key="picture", label="Picture", names=KIND_NAMES, is_ordered=True)
            found.insert(1, picture)
        return tuple(found)

    def _flows(self, pair: ImagePair | None) -> list[int]:
        if pair is None:
            return []
        least = LEAST_FLOW * pair.flows.total()
        return [
            self._names["flow"].position(f"{readable(a)} → {readable(b)}")
            for (a, b), count in pair.flows.items()
            if a != b and count >= least
        ]

    def _classes(self, pair: Pair) -> list[int]:
        names = {s["category_name"] for row in (pair.a, pair.b) for s in row["segments_info"]}
        return [self._names["class"].position(name) for name in sorted(names)]


def _facet(values: Sequence[Sequence[int]]) -> FacetValues:
    return FacetValues(
        counts=[len(of_row) for of_row in values], values=[v for of_row in values for v in of_row]
    )


def _score(row: Row) -> float | None:
    return _rounded(row["quality"]["mean_score"] if row["quality"] else None, 3)


def _grade(row: Row, uncalibrated: str | None) -> list[int]:
    if row["quality"] is None:
        return []
    shown = shown_grade(row["quality"]["grade"], row["quality"]["reasons"], uncalibrated)
    return [SHOWN_GRADES.index(shown)]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _failures(pair: Pair) -> tuple[str, str]:
    return pair.a["error_code"] or "", pair.b["error_code"] or ""
