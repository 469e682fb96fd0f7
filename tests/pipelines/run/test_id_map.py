"""Tests of pipelines.run.id_map."""

import numpy as np
import pytest

from pipelines.run.id_map import id_map
from pipelines.schema import LabelledRow
from possam_core.errors import ConfigError
from possam_core.labels.rle import rle_counts

IDS = np.array([[7, 7, 0], [9, 0, 9]], np.int32)


def make_row(ids: np.ndarray, numbers: list[int]) -> LabelledRow:
    counts, size = rle_counts(ids), list(ids.shape)
    segments = [{"id": i, "segmentation": {"size": size, "counts": counts[i]}} for i in numbers]
    return {"uri": "a.jpg", "height": size[0], "width": size[1], "segments_info": segments}


def test_each_pixel_has_the_id_of_its_segment_or_the_value_given_for_it() -> None:
    row = make_row(IDS, [7, 9])
    assert (id_map(row) == IDS).all()
    assert id_map(row, [1, 2]).tolist() == [[1, 1, 0], [2, 0, 2]]
    assert id_map(make_row(IDS, [])).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_damaged_labels_are_refused_with_the_name_of_the_image() -> None:
    with pytest.raises(ConfigError, match=r"sound labels of a\.jpg, but its segments overlap"):
        id_map(make_row(IDS, [7, 7]))
