"""Rows of a run as columns of the viewer's index, and the counts in its head."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.reader.where import MAYBE_UNKNOWN
from pipelines.report.selection import KIND_NAMES, Candidate
from pipelines.report.viewer import ErrorSummary, Facet, FacetValues, Kind, Measure, RowBlock
from pipelines.run.grading import UNCALIBRATED, shown_grades
from pipelines.run.plan import NOT_KNOWN
from pipelines.schema import OK, QUALITY_TYPE
from possam_core.labels.quality import GRADES

MAX_MESSAGES = 500  # in the index, of one error code; the others show only the code
MAX_MESSAGE_CHARS = 200
NUM_SAMPLES = 3  # of one error code, in the head
LABELS = {"void_frac": "void share"}
SIZES = ("num_segments", "width", "height")
SHOWN_GRADES = (*GRADES, UNCALIBRATED)


class Names(dict[str, int]):
    """Names in order of first use, each with its position."""

    def position(self, name: str) -> int:
        """The position of `name`, which is added if it is new."""
        return self.setdefault(name, len(self))


class RunIndex:
    """Turns shards into blocks of the index, and counts grades and errors."""

    def __init__(self, base: str, uncalibrated: str | None = None) -> None:
        """Start an empty index; images below `base` are named relative to it.

        `uncalibrated` says why the grades of the model promise nothing; None: they do.
        """
        self.base = base
        self._uncalibrated = uncalibrated
        self.grades = GRADES if uncalibrated is None else SHOWN_GRADES
        self.num_rows = 0
        self.num_per_grade: Counter[str] = Counter()
        self.num_per_error: Counter[str] = Counter()
        self._samples: dict[str, list[tuple[str, str]]] = {}
        self._names = {key: Names() for key in ("class", "error", "reason")}

    def add(self, rows: pa.Table) -> RowBlock:
        """The columns of some rows of `schema.ROW_SCHEMA`."""
        self.num_rows += rows.num_rows
        names = [uri.removeprefix(self.base) for uri in rows["uri"].to_pylist()]
        quality = rows["quality"]
        shown = shown_grades(quality, self._uncalibrated)
        self.num_per_grade.update(_present(shown))
        segments = rows["segments_info"].combine_chunks()
        classes = pc.struct_field(pc.list_flatten(segments), "category_name")
        reasons = pc.struct_field(quality, "reasons").combine_chunks()
        grades = Names({grade: i for i, grade in enumerate(self.grades)})
        return RowBlock(
            names=names,
            measures={m.key: _numbers(rows, m.key) for m in measures()},
            facets={
                "grade": _single(shown, grades),
                "error": _single(rows["error_code"], self._names["error"]),
                "class": _multiple(segments, classes, self._names["class"]),
                "reason": _multiple(reasons, pc.list_flatten(reasons), self._names["reason"]),
            },
            messages=self._messages(rows, names),
        )

    def facets(self, *, with_pictures: bool) -> tuple[Facet, ...]:
        """The facets of all rows so far; `with_pictures` adds one for the kind of picture."""
        found = [
            Facet(key="grade", label="Grade", names=self.grades, is_ordered=True),
            Facet(key="error", label="Error", names=tuple(self._names["error"])),
            Facet(
                key="reason",
                label="Below grade A for" if self._uncalibrated is None else "Lower than usual in",
                names=[*map(readable, self._names["reason"])],
            ),
            Facet(key="class", label="Class", names=tuple(self._names["class"])),
        ]
        if with_pictures:
            found.insert(
                2, Facet(key="picture", label="Picture", names=KIND_NAMES, is_ordered=True)
            )
        return tuple(found)

    def errors(self) -> tuple[ErrorSummary, ...]:
        """The error codes, the most frequent first."""
        return tuple(
            ErrorSummary(code=code, count=count, samples=self._samples[code])
            for code, count in self.num_per_error.most_common()
        )

    def _messages(self, rows: pa.Table, names: Sequence[str]) -> dict[int, tuple[str]]:
        messages = {}
        columns = rows.select(["error_code", "error_message"]).to_pydict()
        for i, (code, message) in enumerate(zip(*columns.values(), strict=True)):
            if code is None:
                continue
            self.num_per_error[code] += 1
            text = str(message or code)[:MAX_MESSAGE_CHARS]
            if self.num_per_error[code] <= MAX_MESSAGES:
                messages[i] = (text,)
            samples = self._samples.setdefault(code, [])
            if len(samples) < NUM_SAMPLES:
                samples.append((names[i], text))
        return messages


def measures() -> tuple[Measure, ...]:
    """The numeric columns of each image: its quality measures and its sizes."""
    kinds: dict[str, Kind] = {}
    for field in QUALITY_TYPE:
        if pa.types.is_floating(field.type):
            kinds[field.name] = "share"
        elif pa.types.is_integer(field.type):
            kinds[field.name] = "count"
    kinds |= dict.fromkeys(SIZES, "count")
    return tuple(
        Measure(
            key=key,
            label=LABELS.get(key) or readable(key.removeprefix("num_")),
            kind=kind,
            if_missing=NOT_KNOWN if key in MAYBE_UNKNOWN else "",
        )
        for key, kind in kinds.items()
    )


def readable(name: str) -> str:
    """The name of a column or reason in words."""
    return name.replace("_", " ").replace("iou", "IoU").replace("clip", "CLIP")


def candidates(
    rows: pa.Table, *, first_row: int, shard: int, uncalibrated: str | None = None
) -> Iterator[Candidate]:
    """The labelled images of a shard; the worst have the worst grade as shown, then score."""
    columns = rows.select(["image_id", "status"]).to_pydict()
    grades = shown_grades(rows["quality"], uncalibrated).to_pylist()
    scores = pc.struct_field(rows["quality"], "mean_score").to_pylist()
    marks = _marks(rows["quality"])
    for i, (image_id, status) in enumerate(zip(*columns.values(), strict=True)):
        if status == OK:
            yield Candidate(
                badness=(-SHOWN_GRADES.index(grades[i]), scores[i]),
                image_id=image_id,
                row=first_row + i,
                shard=shard,
                position=i,
                mark=marks[i],
            )


def _marks(quality: pa.ChunkedArray) -> list[str]:
    """All numbers that were measured of each image's labels, as one text."""
    numbers = [
        pc.struct_field(quality, field.name).to_numpy().astype(np.float64)
        for field in QUALITY_TYPE
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    ]
    return [row.tobytes().hex() for row in np.stack(numbers, axis=1)]


def _numbers(rows: pa.Table, key: str) -> list[float | None]:
    """A measure of each row, rounded for display; None where there is none."""
    if key == "num_segments":
        is_ok = pc.equal(rows["status"], OK)
        values = pc.if_else(is_ok, pc.list_value_length(rows["segments_info"]), None)
    elif key in SIZES:
        values = rows[key]
    else:
        values = pc.struct_field(rows["quality"], key)
    if pa.types.is_integer(values.type):
        numbers: list[float | None] = values.to_pylist()
        return numbers
    floats = np.round(values.to_numpy().astype(np.float64), 3).tolist()
    return [value if value == value else None for value in floats]


def _single(column: pa.ChunkedArray, names: Names) -> FacetValues:
    values = column.to_pylist()
    return FacetValues(
        counts=[int(value is not None) for value in values],
        values=[names.position(value) for value in values if value is not None],
    )


def _multiple(lists: pa.Array, flat: pa.Array, names: Names) -> FacetValues:
    """Each name once a row, however often the row's list holds it."""
    encoded = flat.dictionary_encode()
    positions = np.array([names.position(name) for name in encoded.dictionary.to_pylist()], int)
    pairs = np.stack([pc.list_parent_indices(lists).to_numpy(), positions[encoded.indices]])
    rows, values = np.unique(pairs, axis=1)
    return FacetValues(
        counts=np.bincount(rows, minlength=len(lists)).tolist(), values=values.tolist()
    )


def _present(column: pa.ChunkedArray) -> list[Any]:
    return [value for value in column.to_pylist() if value is not None]
