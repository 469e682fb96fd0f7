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
        ("waits_batch", 2),
        ("waits_batch_calibrated", 2),
        ("launches_decoder_and_merge", 641),
        ("d2h_bytes_per_image", 0.3e6),
        ("casts_of_frozen_weights", 0),
        ("sam_vit_b_flops_ratio", 0.97),
        ("pixel_decoder_bytes_per_image", 4.5e9),
        ("pixel_decoder_launches", 83),
        ("training_waits_points", 3),
        ("training_launches_loss", 536),
    ],
)
def test_a_batch_asks_for_no_more(figures: dict[str, float], name: str, most: float) -> None:
    assert 0 <= figures[name] <= most
