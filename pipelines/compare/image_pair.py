"""One image as two runs have labelled it.

Axes: H W pixels of the image; A and B segments of the two runs, where index 0 is void.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32
from numpy import ndarray

from pipelines.run.id_map import id_map
from pipelines.schema import Row, SegmentInfo, is_labelled
from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    PanopticQualityCounts,
    count_matches,
    summarise,
)

VOID = ""  # the class name of pixels without a class


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePair:
    """The agreement of two labels of an image; a failed image counts as all void."""

    counts: PanopticQualityCounts  # with the first run as truth
    flows: Counter[tuple[str, str]]  # pixels by class in the first and in the second run

    @property
    def changed(self) -> float:
        """Share of the pixels whose class differs."""
        num_same = sum(count for (a, b), count in self.flows.items() if a == b)
        return 1 - num_same / self.flows.total()

    @property
    def pq(self) -> float | None:
        """Panoptic quality, in percent; None where neither run has a segment that counts."""
        found = summarise(self.counts, {"all": self.counts.per_category.keys()})["all"]
        return 100 * found.pq if found.num_classes else None


def compare_image(a: Row, b: Row, category_ids: Mapping[str, int]) -> ImagePair | None:
    """Compare two rows of the same image; None if both failed or their sizes differ.

    `category_ids` maps the class names of both runs to one set of ids.
    """
    sizes = {(row["height"], row["width"]) for row in (a, b) if is_labelled(row)}
    if len(sizes) != 1:
        return None
    image_hw = sizes.pop()
    segments_a, segments_b = a["segments_info"], b["segments_info"]
    index_a, index_b = _segment_index(a, image_hw), _segment_index(b, image_hw)
    return ImagePair(
        counts=count_matches(
            _annotation(segments_a, index_a, category_ids),
            _annotation(segments_b, index_b, category_ids),
        ),
        flows=_flows(segments_a, segments_b, index_a, index_b),
    )


def _segment_index(row: Row, image_hw: tuple[int, int]) -> Int32[ndarray, "H W"]:
    """Position of each pixel's segment, counted from 1; 0 is void."""
    if not is_labelled(row):
        return np.zeros(image_hw, np.int32)
    return id_map(row, range(1, 1 + len(row["segments_info"])))


def _annotation(
    segments: Sequence[SegmentInfo], index: Int32[ndarray, "H W"], category_ids: Mapping[str, int]
) -> PanopticAnnotation:
    return PanopticAnnotation(
        ids=index,
        category_ids={i: category_ids[s["category_name"]] for i, s in enumerate(segments, start=1)},
    )


def _flows(
    segments_a: Sequence[SegmentInfo],
    segments_b: Sequence[SegmentInfo],
    index_a: Int32[ndarray, "H W"],
    index_b: Int32[ndarray, "H W"],
) -> Counter[tuple[str, str]]:
    names_a, names_b = ([VOID, *(s["category_name"] for s in x)] for x in (segments_a, segments_b))
    pairs = np.bincount((index_a * len(names_b) + index_b).ravel(order="K"))
    flows: Counter[tuple[str, str]] = Counter()
    for pair in np.flatnonzero(pairs).tolist():
        a, b = divmod(pair, len(names_b))
        flows[names_a[a], names_b[b]] += int(pairs[pair])
    return flows
