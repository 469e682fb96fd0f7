"""Checks the labels of one image against their own masks, with pycocotools.

On purpose it shares no reader of RLE with the writers (`possam_core.labels.rle`): a mistake there
would not be found here.

Axes: N segments of the image, M characters of their masks, R runs.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, Num, UInt8
from numpy import ndarray
from pycocotools import mask

MAX_CHARS = 7  # of one run: 35 bits, more than any run of a 32-bit image


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedLabels:
    """The labels of one image as its row states them."""

    image_hw: tuple[int, int]
    ids: list[int]
    category_ids: list[int]
    is_thing: list[bool]
    areas_px: list[int]
    boxes_xywh: Num[ndarray, "N 4"]
    sizes_hw: Num[ndarray, "N 2"]
    counts: list[str]  # COCO compressed RLE
    coverage: float
    num_things: int
    num_stuff: int


class LabelColumns:
    """The labels of a batch of rows, by column: far faster than row by row."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        """Read the columns of `rows`, which are of `schema.ROW_SCHEMA`."""
        segments, quality = rows.column("segments_info"), rows.column("quality")
        values = segments.values
        masks = values.field("segmentation")
        self.bounds = segments.offsets.to_pylist()  # of each row's segments among all
        self.ids, self.category_ids, self.is_thing, self.areas_px = (
            values.field(name).to_pylist() for name in ("id", "category_id", "isthing", "area")
        )
        self.boxes_xywh = _pairs(values.field("bbox"), 4)
        self.sizes_hw = _pairs(masks.field("size"), 2)
        self.counts = masks.field("counts").to_pylist()
        self.heights, self.widths = (rows.column(n).to_pylist() for n in ("height", "width"))
        self.coverage, self.num_things, self.num_stuff = (
            quality.field(name).to_pylist() for name in ("coverage", "num_things", "num_stuff")
        )

    def num_segments(self, row: int) -> int:
        """How many segments one row has."""
        return int(self.bounds[row + 1] - self.bounds[row])

    def image(self, row: int) -> ClaimedLabels:
        """The labels of one row, whose size and quality are not null."""
        segments = slice(self.bounds[row], self.bounds[row + 1])
        return ClaimedLabels(
            image_hw=(self.heights[row], self.widths[row]),
            ids=self.ids[segments],
            category_ids=self.category_ids[segments],
            is_thing=self.is_thing[segments],
            areas_px=self.areas_px[segments],
            boxes_xywh=self.boxes_xywh[segments],
            sizes_hw=self.sizes_hw[segments],
            counts=self.counts[segments],
            coverage=self.coverage[row],
            num_things=self.num_things[row],
            num_stuff=self.num_stuff[row],
        )


def label_problems(labels: ClaimedLabels) -> Iterator[str]:
    """A phrase for each contradiction between `labels` and their masks, or among `labels`."""
    if len(set(labels.ids)) < len(labels.ids) or min(labels.ids, default=1) < 1:
        yield f"segment ids are {labels.ids}, expected each one once and from 1 up"
    stuff = Counter(
        c for c, is_thing in zip(labels.category_ids, labels.is_thing, strict=True) if not is_thing
    )
    for category_id, number in stuff.items():
        if number > 1:
            yield f"stuff of category {category_id} is {number} segments, expected one"
    if labels.num_things != sum(labels.is_thing):
        yield f"num_things is {labels.num_things}, its segments are {sum(labels.is_thing)}"
    if labels.num_stuff != stuff.total():
        yield f"num_stuff is {labels.num_stuff}, its segments are {stuff.total()}"
    broken = list(_broken_masks(labels))
    yield from broken or _mask_problems(labels)


def _broken_masks(labels: ClaimedLabels) -> Iterator[str]:
    """Problems of masks that pycocotools cannot read safely: it would leave its buffers."""
    height, width = labels.image_hw
    for i, size in zip(labels.ids, labels.sizes_hw.tolist(), strict=True):
        if size != [height, width]:
            yield f"segment {i} has a mask of size {size}, the image has {[height, width]}"
    counts = [c.encode() for c in labels.counts]
    if _are_whole(counts, height * width):
        return
    for i, one in zip(labels.ids, counts, strict=True):
        if not _are_whole([one], height * width):
            yield f"segment {i} has a mask that is no RLE of {height} x {width} pixels"


def _are_whole(counts: list[bytes], num_pixels: int) -> bool:
    """Whether each of `counts` is a COCO compressed RLE whose runs add up to the image."""
    if not counts:
        return True  # nothing was found in the image
    if not all(counts):
        return False
    codes = np.frombuffer(b"".join(counts), np.uint8) - np.uint8(48)  # other characters wrap around
    is_last = codes < 32  # bit 6 is set where more of the same run follows
    text_ends = np.cumsum([len(c) for c in counts])
    if codes.max() > 63 or not is_last[text_ends - 1].all():
        return False
    ends = np.flatnonzero(is_last) + 1
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts).max() > MAX_CHARS:
        return False
    runs = _numbers(codes, starts, ends)
    first = 0
    for last in np.searchsorted(ends, text_ends).tolist():
        # From the fourth on, a run is stored relative to two before; the first stands alone.
        one = runs[first : last + 1]
        ones, zeros = np.cumsum(one[1::2]), np.cumsum(one[2::2])
        if one[0] < 0 or min(ones.min(initial=1), zeros.min(initial=1)) < 1:
            return False
        if one[0] + ones.sum() + zeros.sum() != num_pixels:
            return False
        first = last + 1
    return True


def _numbers(
    codes: UInt8[ndarray, " M"], starts: Int64[ndarray, " R"], ends: Int64[ndarray, " R"]
) -> Int64[ndarray, " R"]:
    """The signed numbers between `starts` and `ends`: five bits a character, the lowest first."""
    numbers: Int64[ndarray, " R"] = (codes[starts] & 31).astype(np.int64)
    longer = np.flatnonzero(ends - starts > 1)  # few: most take one character
    for place in range(1, MAX_CHARS):
        numbers[longer] |= (codes[starts[longer] + place] & 31).astype(np.int64) << (5 * place)
        longer = longer[ends[longer] - starts[longer] > place + 1]
    is_negative = (codes[ends - 1] & 16) > 0
    numbers[is_negative] -= 1 << (5 * (ends - starts)[is_negative])
    return numbers


def _mask_problems(labels: ClaimedLabels) -> Iterator[str]:
    """Contradictions between `labels` and their masks, which can be read."""
    height, width = labels.image_hw
    masks = [{"size": [height, width], "counts": counts} for counts in labels.counts]
    areas_px = mask.area(masks).tolist() if masks else []
    boxes_xywh = mask.toBbox(masks).tolist() if masks else []
    for i, claimed, found in zip(labels.ids, labels.areas_px, areas_px, strict=True):
        if claimed != found:
            yield f"segment {i} has area {claimed}, its mask has {found}"
    for i, claimed, found in zip(labels.ids, labels.boxes_xywh.tolist(), boxes_xywh, strict=True):
        if claimed != found:
            yield f"segment {i} has bbox {claimed}, its mask has {[round(v) for v in found]}"
    labelled_px = int(mask.area(mask.merge(masks))) if masks else 0
    if labelled_px != sum(areas_px):
        yield f"segments overlap in {sum(areas_px) - labelled_px} pixels"
    coverage = np.float32(sum(areas_px) / (height * width))
    if np.float32(labels.coverage) != coverage:
        yield f"coverage is {labels.coverage:.6f}, its masks cover {coverage:.6f}"


def _pairs(lists: pa.FixedSizeListArray, width: int) -> Num[ndarray, "N width"]:
    # A null among the numbers turns them into floats with a NaN, which equals nothing.
    flat: Num[ndarray, " M"] = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, width)
