"""What a GPU is asked for, by the counts of `benchmarks.counts`: none may rise."""

import pytest

from benchmarks.counts import count_all


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    return count_all()[0]


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("waits_merge", 2),
        ("waits_merge_calibrated", 2),
        ("waits_batch", 10),
        ("waits_batch_calibrated", 10),
        ("launches_decoder_and_merge", 1185),
        ("d2h_bytes_per_image", 0.3e6),
        ("casts_of_frozen_weights", 282),
        ("sam_vit_b_flops_ratio", 1.41),
        ("pixel_decoder_bytes_per_image", 15.31e9),
        ("pixel_decoder_launches", 423),
        ("training_waits_points", 3),
        ("training_launches_loss", 900),
    ],
)
def test_a_batch_asks_for_no_more(figures: dict[str, float], name: str, most: float) -> None:
    assert 0 <= figures[name] <= most
