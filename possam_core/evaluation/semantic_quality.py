"""Mean IoU of semantic labels: every pixel one class, void pixels left out.

Axes: H W pixels.
"""

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Int32
from numpy import ndarray

from possam_core.errors import PossamError
from possam_core.evaluation.confusion import PairCounts
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.labels.masks import VOID_ID


def count_pixels(
    ground_truth: PanopticAnnotation, category_ids: Int32[ndarray, "H W"]
) -> PairCounts:
    """The pixels of one image by true and predicted category; void ones are left out.

    Args:
        ground_truth: crowds count like other segments of their category.
        category_ids: predicted for each pixel.

    Raises:
        PossamError: the maps differ in shape.
    """
    if ground_truth.ids.shape != category_ids.shape:
        raise PossamError(
            f"ground truth and prediction must have one shape, got {ground_truth.ids.shape} and"
            f" {category_ids.shape}"
        )
    is_known = ground_truth.ids != VOID_ID
    ids, true_index = np.unique(ground_truth.ids[is_known], return_inverse=True)
    guesses, guess_index = np.unique(category_ids[is_known], return_inverse=True)
    shape = (len(ids), len(guesses))
    places = true_index * shape[1] + guess_index
    table = np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)
    counts: Counter[tuple[int | None, int | None]] = Counter()
    for i, j in np.argwhere(table).tolist():
        counts[ground_truth.category_ids[int(ids[i])], int(guesses[j])] += int(table[i, j])
    return PairCounts(counts=dict(counts))


def category_ious(pixels: PairCounts) -> dict[int, float]:
    """IoU of each category that occurs in the truth, over all images together."""
    true, predicted, both = Counter[int](), Counter[int](), Counter[int]()
    for (category_id, guess), count in pixels.counts.items():
        if category_id is None or guess is None:
            continue
        true[category_id] += count
        predicted[guess] += count
        both[category_id] += count * (category_id == guess)
    return {i: both[i] / (true[i] + predicted[i] - both[i]) for i in sorted(true)}


def mean_ious(pixels: PairCounts, groups: Mapping[str, Collection[int]]) -> dict[str, float | None]:
    """Mean IoU of each group's categories that occur in the truth; None where none does."""
    ious = category_ious(pixels)
    means: dict[str, float | None] = {}
    for name, categories in groups.items():
        present = [ious[i] for i in sorted(categories) if i in ious]
        means[name] = sum(present) / len(present) if present else None
    return means
