"""Labels from a map and from runs; a map of 2 x 3, counted down the columns: 7 9 | 7 0 | 0 9."""

import pickle

import numpy as np
import pytest

from possam_core.errors import PossamError
from possam_core.labels.pixel_runs import PixelRuns
from possam_core.labels.segmentation import Expectation, PanopticSegmentation
from tests.factories import make_segment

IDS = np.array([[7, 7, 0], [9, 0, 9]], np.int32)
SEGMENTS = (make_segment(id=9), make_segment(id=7))
RUNS = PixelRuns(
    image_hw=(2, 3),
    num_segments=2,
    owners=np.array([1, 0, 1, 0]),
    starts=np.array([0, 1, 2, 5]),
    ends=np.array([1, 2, 3, 6]),
)


def test_a_map_has_runs_by_the_position_of_the_segment() -> None:
    runs = PanopticSegmentation(ids=IDS, segments=SEGMENTS).runs
    assert runs.num_segments == 2
    assert runs.owners.tolist() == [1, 0, 1, 0]
    assert runs.starts.tolist() == [0, 1, 2, 5]
    assert runs.ends.tolist() == [1, 2, 3, 6]


def test_runs_are_painted_once_for_who_asks() -> None:
    labels = PanopticSegmentation.of_runs(RUNS, SEGMENTS)
    assert labels.image_hw == (2, 3)
    assert labels.ids.dtype == np.int32
    assert labels.ids.tolist() == IDS.tolist()
    assert labels.ids is labels.ids


def test_labels_of_runs_survive_pickle_and_cannot_be_changed() -> None:
    labels = PanopticSegmentation.of_runs(RUNS, SEGMENTS, Expectation(pq=0.5, low=()))
    copy = pickle.loads(pickle.dumps(labels))
    assert copy == labels
    assert copy.segments == SEGMENTS
    assert copy.expected == labels.expected
    assert copy.ids.tolist() == IDS.tolist()
    with pytest.raises(AttributeError):
        labels.segments = ()  # type: ignore[misc]


def test_labels_are_equal_if_pixels_and_segments_are() -> None:
    labels = PanopticSegmentation.of_runs(RUNS, SEGMENTS)
    assert labels == PanopticSegmentation(ids=IDS, segments=SEGMENTS)
    assert labels != PanopticSegmentation(ids=IDS[:, ::-1], segments=SEGMENTS)
    assert labels != PanopticSegmentation(ids=IDS, segments=SEGMENTS[::-1])
    assert labels != "labels"


@pytest.mark.parametrize("owners", [[1, 1, 1, 1], [1, 0, 2, 0]])
def test_runs_of_all_segments_and_of_no_other_are_required(owners: list[int]) -> None:
    runs = PixelRuns(
        image_hw=(2, 3),
        num_segments=2,
        owners=np.array(owners),
        starts=RUNS.starts,
        ends=RUNS.ends,
    )
    with pytest.raises(PossamError, match="runs of every segment"):
        PanopticSegmentation.of_runs(runs, SEGMENTS)


def test_the_segments_of_runs_have_ids_of_their_own() -> None:
    with pytest.raises(PossamError, match="unique and positive"):
        PanopticSegmentation.of_runs(RUNS, (make_segment(id=7), make_segment(id=7)))
    stuff = (make_segment(id=1, is_thing=False), make_segment(id=2, is_thing=False))
    with pytest.raises(PossamError, match="one segment"):
        PanopticSegmentation.of_runs(RUNS, stuff)


def test_borders_are_pairs_one_above_or_beside_the_other() -> None:
    below, beside = RUNS.borders()
    # 7 over 9, 7 over void, void over 9; beside: 9 and void in row 1, twice, 7 and void in row 0.
    assert below.tolist() == [0, 2, 4]
    assert beside.tolist() == [1, 2, 3]


def test_an_image_without_segments_has_no_border() -> None:
    nothing = np.zeros(0, np.int64)
    runs = PixelRuns(image_hw=(2, 3), num_segments=0, owners=nothing, starts=nothing, ends=nothing)
    assert [places.tolist() for places in runs.borders()] == [[], []]
    assert PanopticSegmentation.of_runs(runs, ()).ids.tolist() == [[0, 0, 0]] * 2
