"""What changed from one run to another, summed over their images."""

from collections import Counter
from dataclasses import dataclass, field

from pipelines.compare.image_pair import VOID, ImagePair
from pipelines.schema import OK, Row
from possam_core.evaluation.panoptic_quality import (
    PanopticQuality,
    PanopticQualityCounts,
    TrueCategory,
    category_groups,
    summarise,
)

OUTCOMES = ("in both", "in A only", "in B only", "in neither", "in two sizes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShift:
    """One class in the two runs."""

    name: str
    images: tuple[int, int]  # with the class in A, in B
    segments: tuple[int, int]
    area: tuple[float, float]  # share of all compared pixels
    quality: PanopticQuality  # of this class, with A as truth

    @property
    def area_change(self) -> float:
        """How much larger its share is in B."""
        return self.area[1] - self.area[0]


@dataclass(slots=True)
class Comparison:
    """Sums over pairs of rows."""

    categories: dict[str, TrueCategory] = field(default_factory=dict)  # of both runs, by name
    counts: PanopticQualityCounts = field(default_factory=PanopticQualityCounts)
    flows: Counter[tuple[str, str]] = field(default_factory=Counter)  # pixels by class in A, in B
    outcomes: Counter[str] = field(default_factory=Counter)  # images
    num_only_in: tuple[int, int] = (0, 0)  # images that are not in the other run
    _images: tuple[Counter[str], Counter[str]] = field(
        default_factory=lambda: (Counter(), Counter())
    )
    _segments: tuple[Counter[str], Counter[str]] = field(
        default_factory=lambda: (Counter(), Counter())
    )

    @property
    def num_images(self) -> int:
        """Images that are in both runs."""
        return self.outcomes.total()

    @property
    def changed(self) -> float:
        """Share of all pixels whose class differs."""
        num_changed = sum(count for (a, b), count in self.flows.items() if a != b)
        return num_changed / max(1, self.flows.total())

    @property
    def category_ids(self) -> dict[str, int]:
        """One id for each class of both runs."""
        return {name: category.id for name, category in self.categories.items()}

    def learn_classes(self, row: Row) -> None:
        """Assign an id to each new class of a row."""
        for segment in row["segments_info"]:
            name = segment["category_name"]
            if name not in self.categories:
                self.categories[name] = TrueCategory(
                    id=len(self.categories) + 1,
                    name=name,
                    is_thing=segment["isthing"],
                    is_seen=segment["is_seen"],
                )

    def add(self, a: Row, b: Row, pair: ImagePair | None) -> str:
        """Add an image to the sums; return its outcome."""
        outcome = outcome_of(a, b)
        self.outcomes[outcome] += 1
        for side, row in enumerate((a, b)):
            names = [segment["category_name"] for segment in row["segments_info"]]
            self._segments[side].update(names)
            self._images[side].update(set(names))
        if pair is not None:
            self.counts += pair.counts
            self.flows.update(pair.flows)
        return outcome

    def quality(self) -> dict[str, PanopticQuality]:
        """PQ of all, things, stuff, seen and unseen classes, with A as truth."""
        return summarise(self.counts, category_groups([*self.categories.values()]))

    def class_shifts(self) -> list[ClassShift]:
        """Each class, the one whose area changed most first."""
        total = max(1, self.flows.total())
        areas: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for (name_a, name_b), count in self.flows.items():
            areas[0][name_a] += count
            areas[1][name_b] += count
        groups = {name: {category_id} for name, category_id in self.category_ids.items()}
        quality = summarise(self.counts, groups)
        shifts = [
            ClassShift(
                name=name,
                images=(self._images[0][name], self._images[1][name]),
                segments=(self._segments[0][name], self._segments[1][name]),
                area=(areas[0][name] / total, areas[1][name] / total),
                quality=quality[name],
            )
            for name in self.categories
        ]
        return sorted(shifts, key=lambda shift: (-abs(shift.area_change), shift.name))

    def largest_flows(self, number: int) -> list[tuple[str, str, float]]:
        """Class in A, class in B, and the share of all pixels that changed so."""
        total = max(1, self.flows.total())
        changes = Counter({pair: count for pair, count in self.flows.items() if pair[0] != pair[1]})
        return [(a, b, count / total) for (a, b), count in changes.most_common(number)]


def outcome_of(a: Row, b: Row) -> str:
    """The outcome of an image: which of the runs have labelled it."""
    is_ok = a["status"] == OK, b["status"] == OK
    if all(is_ok) and (a["width"], a["height"]) != (b["width"], b["height"]):
        return OUTCOMES[4]
    return {
        (True, True): OUTCOMES[0],
        (True, False): OUTCOMES[1],
        (False, True): OUTCOMES[2],
        (False, False): OUTCOMES[3],
    }[is_ok]


def readable(name: str) -> str:
    """The name of a class, or "(void)" where there is none."""
    return name if name != VOID else "(void)"
