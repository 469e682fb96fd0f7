import numpy as np
import pytest

from possam_core.evaluation.consistency import (
    CHANGES,
    agreement,
    is_sampled,
    measure_consistency,
    mirror,
    shrink,
    unmirror,
    unshrink,
)
from possam_core.evaluation.panoptic_quality import PanopticAnnotation
from possam_core.labels.segmentation import PanopticSegmentation
from tests.factories import make_panoptic, make_pixels, make_segment

BALL, LAWN = 1, 9


def labels(ids: list[list[int]], *category_ids: int) -> PanopticAnnotation:
    """A map whose segments 1, 2, ... have these categories."""
    return PanopticAnnotation(
        ids=np.array(ids, np.int32), category_ids=dict(enumerate(category_ids, start=1))
    )


def halves(left: int, right: int, width: int = 8) -> PanopticSegmentation:
    """Eight rows; the first `left` columns are a ball, the last `right` ones lawn, others void."""
    ids = np.zeros((8, width), np.int32)
    ids[:, :left] = 1
    ids[:, width - right :] = 2
    lawn = make_segment(id=2, class_index=1, category_id=LAWN, is_thing=False)
    return make_panoptic(ids, [make_segment(id=1), lawn])


def test_the_same_labels_agree_whatever_their_ids() -> None:
    one = labels([[1, 1, 2], [0, 0, 2]], BALL, LAWN)
    other = labels([[2, 2, 1], [0, 0, 1]], LAWN, BALL)
    assert agreement(one, other) == 1.0


def test_agreement_is_the_mean_over_classes_and_the_same_in_both_directions() -> None:
    one = labels([[1, 1, 1, 1, 2, 2]], BALL, LAWN)
    other = labels([[1, 1, 1, 2, 2, 2]], BALL, LAWN)
    # Ball: 3 of 4 pixels; lawn: 2 of 3.
    assert agreement(one, other) == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert agreement(other, one) == agreement(one, other)


def test_another_class_on_the_same_pixels_does_not_agree() -> None:
    one, other = labels([[1, 1, 2, 2]], BALL, BALL), labels([[1, 1, 2, 2]], BALL, LAWN)
    # Ball: one match and one miss, 1 / 1.5; lawn: one segment too many.
    assert agreement(one, other) == pytest.approx((1 / 1.5 + 0) / 2)


def test_void_is_not_ignored() -> None:
    one, other = labels([[1, 1, 0, 0]], BALL), labels([[1, 1, 2, 2]], BALL, LAWN)
    assert agreement(one, other) == agreement(other, one) == pytest.approx(0.5)
    # As ground truth, void pixels would leave this union at two pixels, and the match perfect.
    assert agreement(labels([[1, 1, 0]], BALL), labels([[1, 1, 1]], BALL)) == pytest.approx(2 / 3)


def test_two_labellings_without_segments_agree_and_one_alone_does_not() -> None:
    nothing, ball = labels([[0, 0]]), labels([[1, 1]], BALL)
    assert agreement(nothing, nothing) == 1.0
    assert agreement(nothing, ball) == agreement(ball, nothing) == 0.0


def test_mirroring_twice_changes_nothing() -> None:
    pixels = make_pixels(5, 7)
    np.testing.assert_array_equal(mirror(pixels), pixels[:, ::-1])
    ids = np.arange(35, dtype=np.int32).reshape(5, 7)
    np.testing.assert_array_equal(unmirror(ids[:, ::-1].copy()), ids)


def test_a_shrunk_image_fills_its_frame_with_its_mirror_image() -> None:
    pixels = make_pixels(40, 80)
    shrunk = shrink(pixels)
    assert shrunk.shape == pixels.shape
    np.testing.assert_array_equal(shrunk[:, 60:], shrunk[:, 40:60][:, ::-1])
    np.testing.assert_array_equal(shrunk[30:], shrunk[20:30][::-1])


def test_unshrinking_takes_the_nearest_pixel_of_the_shrunk_image() -> None:
    ids = np.arange(16, dtype=np.int32).reshape(4, 4)
    # Three of four rows and columns hold the image; their places 0.4, 1.1, 1.9, 2.6.
    expected = [[0, 1, 1, 2], [4, 5, 5, 6], [4, 5, 5, 6], [8, 9, 9, 10]]
    np.testing.assert_array_equal(unshrink(ids), expected)


def test_consistency_is_the_mean_over_the_changed_copies() -> None:
    own = halves(4, 4)
    mirrored = make_panoptic(np.ascontiguousarray(own.ids[:, ::-1]), own.segments)
    shrunk = halves(3, 5)  # three of the six columns that count
    assert measure_consistency(own, [mirrored, shrunk]) == 1.0
    # A model that always calls the left half a ball says the opposite of the mirrored image.
    assert measure_consistency(own, [own, shrunk]) == 0.5


def test_a_segment_that_only_the_frame_shows_is_left_out() -> None:
    own = make_panoptic(np.ones((8, 8), np.int32))
    copies = [own, halves(6, 2)]  # the last two columns of eight lie outside the shrunk image
    assert measure_consistency(own, copies) == 1.0


@pytest.mark.parametrize("image_hw", [(8, 8), (9, 31), (100, 8)])
def test_every_copy_has_the_size_of_the_image(image_hw: tuple[int, int]) -> None:
    pixels = make_pixels(*image_hw)
    for change in CHANGES:
        assert change.apply(pixels).shape == pixels.shape
        assert change.undo(np.ones(image_hw, np.int32)).shape == image_hw


def test_a_share_of_the_images_is_sampled_always_the_same_and_growing() -> None:
    names = [f"image-{number}" for number in range(4000)]
    few, many = ({n for n in names if is_sampled(n, share)} for share in (0.1, 0.3))
    assert few < many
    assert len(few) == pytest.approx(400, abs=100)
    assert len(many) == pytest.approx(1200, abs=150)
    assert not any(is_sampled(n, 0.0) for n in names)
    assert all(is_sampled(n, 1.0) for n in names)
