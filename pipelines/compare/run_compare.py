"""`possam compare`: class shifts, PQ between two runs, and the images that changed most."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from pipelines.bars import bars
from pipelines.compare.comparison import OUTCOMES, Comparison
from pipelines.compare.image_pair import compare_image
from pipelines.compare.index import MEASURES, Pair, PairIndex
from pipelines.compare.partner import Partner
from pipelines.compare.tables import flow_table, quality_table, shift_table, summary, to_terminal
from pipelines.reader import LabelledRun, open_run
from pipelines.report.photographs import Photographs
from pipelines.report.picture import Subject, draw_pictures
from pipelines.report.run_report import MAX_IMAGES, base_of, by_shard, orders, provenance_of
from pipelines.report.selection import Candidate, Selection
from pipelines.report.viewer import Head, Order, ViewerWriter
from pipelines.run.folder import RunFolder
from pipelines.run.grading import standing
from pipelines.run.parts import read_shard
from pipelines.schema import OK, is_labelled, to_rows
from possam_core.errors import ConfigError
from possam_core.evaluation.percent import quality_percents

MOST_CHANGED = Order(label="changed most", by=(("changed", -1), ("pq", 1)))
PQ_NOTE = "PQ takes A as truth, and ignores segments of B where A is void."
CHARTS = ("changed", "pq", "score_b")
FACTS = (
    ("changed", "{} of the pixels changed"),
    ("pq", "PQ {}"),
    ("segments_a", "{} segments in A"),
    ("segments_b", "{} in B"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """The comparison of two runs, and the page that shows it."""

    comparison: Comparison
    page: str  # address

    def to_json(self) -> dict[str, Any]:
        """The figures of all classes for programs, as shares of 1."""
        compared = self.comparison
        return {
            "page": self.page,
            "num_images": compared.num_images,
            "num_only_in": compared.num_only_in,
            "outcomes": dict(compared.outcomes),
            "changed": compared.changed,
            "quality": {name: asdict(quality) for name, quality in compared.quality().items()},
            "classes": [asdict(shift) for shift in compared.class_shifts()],
        }

    def to_terminal(self) -> RenderableType:
        """The tables, and the address of the page."""
        return Group(to_terminal(self.comparison), Text(f"wrote {self.page}"))


def compare_runs(
    run_a: str,
    run_b: str,
    output: str | None = None,
    *,
    allowed_hosts: Sequence[str] = (),
    console: Console | None = None,
) -> ComparisonReport:
    """Compare the labels of two runs image by image, and write a page of both side by side.

    Args:
        run_a: location of the run that is taken as truth.
        run_b: location of the other.
        output: the folder to write; None: `report/compare-<plan of A>/` in B.
        allowed_hosts: hosts that images with web addresses may be read from.
        console: where to show progress.

    Raises:
        ConfigError: there is no such run, they have no image in common, or writing failed.
    """
    a, b = open_run(run_a), open_run(run_b)
    writer = ViewerWriter(output or f"{b.location}/report/compare-{a.plan.plan_id}")
    comparer = _Comparer(a, b, writer)
    with bars(console=console) as progress:
        for shard in progress.track(a.shards(), description="comparing"):
            comparer.compare_shard(shard)
        comparer.close()
        chosen = [candidate for candidate, _ in comparer.selection.chosen()]
        task = progress.add_task("drawing", total=len(chosen))
        photographs = Photographs(allowed_hosts)
        for shard, places in by_shard(chosen).items():
            for place, picture in draw_pictures(comparer.subjects(shard, places), photographs):
                writer.add_picture(place, picture)
                progress.advance(task)
        if photographs.note:
            progress.console.print(photographs.note, markup=False, soft_wrap=True)
        page = writer.finish(comparer.head())
    return ComparisonReport(comparison=comparer.comparison, page=page)


class _Comparer:
    """Compares the shards of one run with the rows of the other."""

    def __init__(self, a: LabelledRun, b: LabelledRun, writer: ViewerWriter) -> None:
        self._a, self._b, self._writer = a, b, writer
        self._partner = Partner(b)
        self._index = PairIndex(base_of(a), (a.uncalibrated, b.uncalibrated))
        self._num_only_in_a = 0
        self.comparison = Comparison()
        self.selection = Selection(size=MAX_IMAGES)

    def compare_shard(self, shard: int) -> None:
        """Compare those images of a shard that are in both runs."""
        rows = to_rows(self._a.read_shard(shard))
        twins = self._partner.rows([row["image_id"] for row in rows])
        self._num_only_in_a += len(rows) - len(twins)
        pairs: list[Pair] = []
        candidates: list[Candidate] = []
        for position, a in enumerate(rows):
            b = twins.get(a["image_id"])
            if b is None:
                continue
            for row in (a, b):
                self.comparison.learn_classes(row)
            labels = compare_image(a, b, self.comparison.category_ids)
            outcome = self.comparison.add(a, b, labels)
            pair = Pair(a=a, b=b, labels=labels, outcome=outcome)
            if OK in (a["status"], b["status"]):
                candidates.append(
                    Candidate(
                        badness=pair.badness,
                        image_id=a["image_id"],
                        row=self._writer.num_rows + len(pairs),
                        shard=shard,
                        position=position,
                    )
                )
            pairs.append(pair)
        self.selection.add(candidates)
        self._writer.add_rows(self._index.add(pairs))

    def close(self) -> None:
        """Count the images that are in one run only.

        Raises:
            ConfigError: nothing was compared.
        """
        num_both = self.comparison.num_images
        if not num_both:
            raise ConfigError(
                f"expected two runs of the same images, but {self._a.location} and"
                f" {self._b.location} have none in common; label the same corpus with both"
            )
        self.comparison.num_only_in = self._num_only_in_a, len(self._partner) - num_both

    def subjects(self, shard: int, places: dict[int, Candidate]) -> list[Subject]:
        """The images of a shard to draw."""
        planned = {i.image_id: i for i in read_shard(RunFolder(self._a.location), shard)}
        positions = [candidate.position for candidate in places.values()]
        rows = to_rows(self._a.read_shard(shard).take(positions))
        twins = self._partner.rows([row["image_id"] for row in rows])
        return [
            Subject(
                place=place,
                image=planned[row["image_id"]],
                layers=[r if is_labelled(r) else None for r in (row, twins[row["image_id"]])],
            )
            for place, row in zip(places, rows, strict=True)
        ]

    def head(self) -> Head:
        """The head of the page."""
        chosen, comparison = self.selection.chosen(), self.comparison
        quality = comparison.quality()["all"]
        names = [PurePosixPath(run.location).name for run in (self._a, self._b)]
        return Head(
            title="PosSAM comparison",
            subtitle=f"A {self._a.location}   B {self._b.location}",
            base=self._index.base,
            measures=MEASURES,
            facets=self._index.facets(with_pictures=not self.selection.is_all),
            orders=orders(MOST_CHANGED, MEASURES),
            charts=CHARTS,
            badges=("grade_a", "grade_b"),
            facts=FACTS,
            chips="flow",
            panels=[f"{side} {name}" for side, name in zip("AB", names, strict=True)],
            totals=[
                ("Images in both", f"{comparison.num_images:,}"),
                ("Changed pixels", f"{100 * comparison.changed:.2f} %"),
                ("PQ of B against A", quality_percents(quality)[0]),
                *((f"Labelled {o}", f"{comparison.outcomes[o]:,}") for o in OUTCOMES[1:3]),
            ],
            notes=(
                *self._warnings(),
                summary(comparison),
                PQ_NOTE,
                self.selection.describe("most changed"),
            ),
            tables=[table(comparison) for table in (quality_table, shift_table, flow_table)],
            provenance=list(self._provenance()),
            pictures=[candidate.row for candidate, _ in chosen],
            picture_kinds=[kind for _, kind in chosen],
        )

    def _warnings(self) -> Iterator[str]:
        for side, run in zip("AB", (self._a, self._b), strict=True):
            if run.uncalibrated is not None:
                yield f"Grades of {side} are {standing(run.uncalibrated)}."

    def _provenance(self) -> Iterator[tuple[str, str]]:
        for side, run in zip("AB", (self._a, self._b), strict=True):
            yield from ((f"{side} {name}", value) for name, value in provenance_of(run))
