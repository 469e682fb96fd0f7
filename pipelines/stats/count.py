"""The rows of a shard -> their statistics, in a few passes over columns.

Axes: S segments.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64
from numpy import ndarray
from scipy import sparse

from pipelines.run.grading import CORRECTED
from pipelines.schema import ERROR, OK
from pipelines.stats.histogram import NUM_BINS, Histogram, histograms
from pipelines.stats.statistics import (
    IMAGE_MEASURES,
    NUM_SCORE_BANDS,
    SEGMENT_MEASURES,
    SIZES,
    SegmentClass,
    SegmentFigures,
    Statistics,
)

SIZES_FROM_PX = (32**2, 96**2)  # area from which a segment is medium, and large


def shard_statistics(rows: pa.Table) -> Statistics:
    """Statistics of rows of `schema.ROW_SCHEMA`, one an image."""
    ok = rows.filter(pc.equal(rows["status"], OK))
    failed = rows.filter(pc.equal(rows["status"], ERROR))
    quality = ok["quality"].combine_chunks()
    grades = quality.field("grade").to_pylist()
    reasons = quality.field("reasons").to_pylist()
    segments = _Segments.of(ok)
    return Statistics(
        num_images=rows.num_rows,
        num_ok=ok.num_rows,
        num_corrected=sum(CORRECTED in each for each in reasons),
        errors=dict(Counter(failed["error_code"].to_pylist())),
        grades=dict(Counter(grades)),
        reasons=dict(
            Counter((g, r) for g, each in zip(grades, reasons, strict=True) for r in each)
        ),
        images={name: _histogram(quality.field(name)) for name in IMAGE_MEASURES},
        segments=segments.by_class_and_size(),
        score_bands=segments.by_score(),
        pairs=segments.pairs(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segments:
    """The segments of all rows, by column."""

    values: pa.StructArray
    rows: Int64[ndarray, " S"]  # the row number of each segment
    classes: list[SegmentClass]
    class_numbers: Int64[ndarray, " S"]  # into `classes`

    @classmethod
    def of(cls, rows: pa.Table) -> "_Segments":
        lists = rows["segments_info"].combine_chunks()
        values = pc.list_flatten(lists)
        names = values.field("category_name").dictionary_encode()
        ids, is_thing = _ints(values.field("category_id")), _ints(values.field("isthing"))
        kinds, numbers = np.unique(
            np.stack([ids, _ints(names.indices), is_thing]), axis=1, return_inverse=True
        )
        known = names.dictionary.to_pylist()
        return cls(
            values=values,
            rows=_ints(pc.list_parent_indices(lists)),
            classes=[
                SegmentClass(id=i, name=known[name], is_thing=bool(thing))
                for i, name, thing in kinds.T.tolist()
            ],
            class_numbers=numbers.reshape(-1),
        )

    def by_class_and_size(self) -> dict[tuple[SegmentClass, str], SegmentFigures]:
        """Figures of each class and size that occurs."""
        sizes = np.searchsorted(SIZES_FROM_PX, _ints(self.values.field("area")), side="right")
        groups = self.class_numbers * len(SIZES) + sizes
        found = self._figures(groups, len(self.classes) * len(SIZES))
        return {
            (self.classes[group // len(SIZES)], SIZES[group % len(SIZES)]): figures
            for group, figures in found
        }

    def by_score(self) -> dict[int, SegmentFigures]:
        """Figures of each band of scores that occurs."""
        scores = self.values.field("score").to_numpy().astype(np.float64)
        # By the bins of the histogram, so that both have the same edges.
        bins = np.clip((scores * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
        return dict(self._figures(bins // (NUM_BINS // NUM_SCORE_BANDS), NUM_SCORE_BANDS))

    def pairs(self) -> dict[tuple[str, str], int]:
        """The number of images with both classes, by sorted names; (a, a) counts class a itself."""
        if not self.classes:
            return {}
        names = sorted({c.name for c in self.classes})
        place = np.array([names.index(c.name) for c in self.classes], np.int64)
        shown = np.unique(np.stack([self.rows, place[self.class_numbers]]), axis=1)
        ones = np.ones(shown.shape[1], np.int64)
        presence = sparse.csr_array((ones, tuple(shown)), shape=(shown[0].max() + 1, len(names)))
        both = sparse.triu(presence.T @ presence).tocoo()
        return {
            (names[a], names[b]): number
            for a, b, number in zip(
                both.row.tolist(), both.col.tolist(), both.data.tolist(), strict=True
            )
        }

    def _figures(
        self, groups: Int64[ndarray, " S"], num_groups: int
    ) -> Iterator[tuple[int, SegmentFigures]]:
        """Each group number that occurs, and the figures of its segments."""

        def sums(name: str) -> list[int]:
            known, totals = self._known(name), np.zeros(num_groups, np.int64)
            np.add.at(totals, groups[known], _ints(self.values.field(name).drop_null()))
            return [int(total) for total in totals]

        def counts(name: str) -> list[int]:
            return [int(n) for n in np.bincount(groups[self._known(name)], minlength=num_groups)]

        areas, seen, agrees = sums("area"), sums("is_seen"), sums("clip_agrees")
        seen_known, agrees_known = counts("is_seen"), counts("clip_agrees")
        measures = {
            name: histograms(
                self.values.field(name).drop_null().to_numpy(),
                groups[self._known(name)],
                num_groups,
            )
            for name in SEGMENT_MEASURES
        }
        for group, number in enumerate(np.bincount(groups, minlength=num_groups).tolist()):
            if number:
                yield (
                    group,
                    SegmentFigures(
                        num_segments=number,
                        area_px=areas[group],
                        num_seen=seen[group],
                        num_seen_known=seen_known[group],
                        num_clip_agrees=agrees[group],
                        num_clip_known=agrees_known[group],
                        measures={name: each[group] for name, each in measures.items()},
                    ),
                )

    def _known(self, name: str) -> Bool[ndarray, " S"]:
        """Which segments have the value."""
        is_known: Bool[ndarray, " S"] = np.asarray(self.values.field(name).is_valid())
        return is_known


def _histogram(values: pa.Array) -> Histogram:
    """The histogram of the values that are not null."""
    known = values.drop_null().to_numpy()
    return histograms(known, np.zeros(len(known), np.int64), 1)[0]


def _ints(values: pa.Array) -> Int64[ndarray, " S"]:
    numbers: Int64[ndarray, " S"] = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return numbers
