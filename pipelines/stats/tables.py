"""Statistics as tables for DuckDB, pandas and dashboards."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipelines.stats.histogram import NUM_BINS, QUANTILES, Histogram
from pipelines.stats.statistics import (
    NUM_SCORE_BANDS,
    SEGMENT_MEASURES,
    SIZES,
    SegmentFigures,
    Statistics,
)

QUANTILE_NAMES = {f"p{100 * share:02.0f}": share for share in QUANTILES}

CLASS_FIELDS = [
    pa.field("category_id", pa.int32()),
    pa.field("category_name", pa.string()),
    pa.field("isthing", pa.bool_()),
]
FIGURE_FIELDS = [
    pa.field("num_segments", pa.int64()),
    pa.field("area_px", pa.int64()),
    # Shares and measures are of the segments of which they are known; null: of none.
    pa.field("seen_share", pa.float64()),
    pa.field("clip_agreement", pa.float64()),  # share of segments
    *(
        pa.field(f"{measure}_{name}", pa.float64())
        for measure in SEGMENT_MEASURES
        for name in ("mean", *QUANTILE_NAMES)
    ),
    *(  # the number of the other segments
        pa.field(f"{name}_unknown", pa.int64())
        for name in (*SEGMENT_MEASURES, "clip_agrees", "is_seen")
    ),
]
SCHEMAS = {
    "classes": pa.schema([*CLASS_FIELDS, pa.field("num_images", pa.int64()), *FIGURE_FIELDS]),
    "classes_by_size": pa.schema([*CLASS_FIELDS, pa.field("size", pa.string()), *FIGURE_FIELDS]),
    "sizes": pa.schema([pa.field("size", pa.string()), *FIGURE_FIELDS]),
    "scores": pa.schema(
        [pa.field("from", pa.float64()), pa.field("to", pa.float64()), *FIGURE_FIELDS]
    ),
    "images": pa.schema(
        [
            pa.field("measure", pa.string()),
            pa.field("num_images", pa.int64()),
            pa.field("num_unknown", pa.int64()),  # labelled images that do not have it
            *(pa.field(name, pa.float64()) for name in ("mean", *QUANTILE_NAMES)),
        ]
    ),
    "histograms": pa.schema(
        [
            pa.field("of", pa.string()),  # "image" or "segment"
            pa.field("by", pa.string()),  # "class", "size" or "score"; null: all of them
            pa.field("group", pa.string()),  # class, size, or the least score of the tenth
            pa.field("measure", pa.string()),
            pa.field("from", pa.float64()),  # null, as is `to`: those that do not have it
            pa.field("to", pa.float64()),
            pa.field("count", pa.int64()),
        ]
    ),
    "grades": pa.schema(
        [
            pa.field("grade", pa.string()),
            pa.field("reason", pa.string()),  # null: all images of the grade
            pa.field("num_images", pa.int64()),
        ]
    ),
    "errors": pa.schema([pa.field("error_code", pa.string()), pa.field("num_images", pa.int64())]),
    "pairs": pa.schema(
        [
            pa.field("first", pa.string()),
            pa.field("second", pa.string()),  # the same: images with that class
            pa.field("num_images", pa.int64()),
        ]
    ),
}


def make_tables(statistics: Statistics) -> dict[str, pa.Table]:
    """Each table of `SCHEMAS`, in an order that depends on the content alone.

    Example:
        >>> from pipelines import make_tables, run_statistics
        >>> make_tables(run_statistics("run"))["errors"].to_pylist()
        [{'error_code': 'not_an_image', 'num_images': 1}]
    """
    rows = {
        "classes": [
            _class_row(c) | {"num_images": statistics.num_images_with(c.name)} | _figures(f)
            for c, f in statistics.by_class().items()
        ],
        "classes_by_size": [
            _class_row(c) | {"size": size} | _figures(statistics.segments[c, size])
            for c in statistics.by_class()
            for size in SIZES
            if (c, size) in statistics.segments
        ],
        "sizes": [{"size": size} | _figures(f) for size, f in statistics.by_size().items()],
        "scores": [
            {"from": band / NUM_SCORE_BANDS, "to": (band + 1) / NUM_SCORE_BANDS} | _figures(f)
            for band, f in sorted(statistics.score_bands.items())
        ],
        "images": [
            {
                "measure": name,
                "num_images": h.num_values,
                "num_unknown": statistics.num_ok - h.num_values,
            }
            | summary(h)
            for name, h in statistics.images.items()
        ],
        "histograms": list(_histogram_rows(statistics)),
        "grades": list(_grade_rows(statistics)),
        "errors": [
            {"error_code": code, "num_images": n} for code, n in sorted(statistics.errors.items())
        ],
        "pairs": [
            {"first": first, "second": second, "num_images": n}
            for (first, second), n in sorted(statistics.pairs.items())
        ],
    }
    return {name: pa.Table.from_pylist(rows[name], schema=SCHEMAS[name]) for name in SCHEMAS}


def summary(histogram: Histogram) -> dict[str, float | None]:
    """Mean and quantiles, by the tables' column names."""
    quantiles = {name: histogram.quantile(share) for name, share in QUANTILE_NAMES.items()}
    return {"mean": histogram.mean} | quantiles


def _class_row(segment_class: Any) -> dict[str, Any]:
    return {
        "category_id": segment_class.id,
        "category_name": segment_class.name,
        "isthing": segment_class.is_thing,
    }


def _figures(figures: SegmentFigures) -> dict[str, Any]:
    return {
        "num_segments": figures.num_segments,
        "area_px": figures.area_px,
        "seen_share": figures.seen_share,
        "clip_agreement": figures.clip_agreement,
        **{f"{name}_unknown": number for name, number in figures.num_unknown().items()},
        **{
            f"{measure}_{name}": value
            for measure, histogram in figures.measures.items()
            for name, value in summary(histogram).items()
        },
    }


def _histogram_rows(statistics: Statistics) -> Iterator[dict[str, Any]]:
    yield from _bins(statistics.images, statistics.num_ok, of="image")
    segments = statistics.all_segments()
    yield from _bins(segments.measures, segments.num_segments, of="segment")
    groups: dict[str, dict[str, SegmentFigures]] = {
        "class": {c.name: figures for c, figures in statistics.by_class().items()},
        "size": dict(statistics.by_size()),
        "score": {
            f"{band / NUM_SCORE_BANDS}": f for band, f in sorted(statistics.score_bands.items())
        },
    }
    for by, figures_of in groups.items():
        for group, figures in figures_of.items():
            num_all = figures.num_segments
            yield from _bins(figures.measures, num_all, of="segment", by=by, group=group)


def _bins(
    measures: Mapping[str, Histogram],
    num_all: int,
    *,
    of: str,
    by: str | None = None,
    group: str | None = None,
) -> Iterator[dict[str, Any]]:
    """A row for each non-empty bin, and one for those of `num_all` that are in none."""
    for name, histogram in measures.items():
        place = {"of": of, "by": by, "group": group, "measure": name}
        for index, count in enumerate(histogram.counts):
            if count:
                edges = {"from": index / NUM_BINS, "to": (index + 1) / NUM_BINS}
                yield {**place, **edges, "count": count}
        if num_unknown := num_all - histogram.num_values:
            yield {**place, "from": None, "to": None, "count": num_unknown}


def _grade_rows(statistics: Statistics) -> Iterator[dict[str, Any]]:
    for grade, number in sorted(statistics.grades.items()):
        yield {"grade": grade, "reason": None, "num_images": number}
        for (of, reason), images in sorted(statistics.reasons.items()):
            if of == grade:
                yield {"grade": grade, "reason": reason, "num_images": images}
