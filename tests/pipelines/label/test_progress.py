"""The progress lines of a job, and its images/s."""

import io
import time

import pytest
from rich.console import Console

from pipelines.label.progress import LabellingRate, ProgressDisplay, planning_note


def printed(looks: list[tuple[int, float]], *, total: int = 60, done_before: int = 0) -> list[str]:
    """The lines of a display that is no terminal, of these images labelled by these seconds."""
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    display = ProgressDisplay(console, total=total, done_before=done_before, started=100.0)
    for num_images, seconds in looks:
        display.show(num_images, 100.0 + seconds)
    return stream.getvalue().splitlines()


def test_while_the_model_loads_a_line_comes_once_and_then_every_minute() -> None:
    looks = [(0, 0.25 * i) for i in range(1, 4 * 130)]
    assert printed(looks) == [
        "labelled 0 of 60 images, loading the model for 0:00:05",
        "labelled 0 of 60 images, loading the model for 0:01:05",
        "labelled 0 of 60 images, loading the model for 0:02:05",
    ]


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, ""), (1.5, "listing images\n")])
def test_a_log_says_that_images_are_listed_once_it_has_taken_a_second(
    seconds: float, lines: str
) -> None:
    stream = io.StringIO()
    with planning_note(Console(file=stream)) as on_listed:
        on_listed(1_000)
        time.sleep(seconds)
    assert stream.getvalue() == lines


def test_each_stage_before_the_first_image_is_said_at_once() -> None:
    stream = io.StringIO()
    display = ProgressDisplay(Console(file=stream), total=60, done_before=12, started=100.0)
    display.announce("starting Ray", 100.0)
    display.announce("loading the model in 2 workers", 102.5)
    display.show(0, 107.6)  # 5.1 s after it began
    assert stream.getvalue().splitlines() == [
        "labelled 12 of 60 images, starting Ray",
        "labelled 12 of 60 images, loading the model in 2 workers",
        "labelled 12 of 60 images, loading the model for 0:00:05",
    ]


def test_a_line_comes_at_most_every_five_seconds_and_only_when_there_are_new_images() -> None:
    looks = [(8, 10.0), (24, 14.0), (28, 15.0), (28, 21.0), (28, 30.0), (48, 31.0)]
    assert printed(looks) == [
        "labelled 8 of 60 images",
        "labelled 28 of 60 images, 4.0 images/s, 0:00:08 left",
        # (48 - 8) / (31 - 10) a second, so 12 more take 6.3 of them
        "labelled 48 of 60 images, 1.9 images/s, 0:00:06 left",
    ]


def test_a_run_that_stands_still_says_for_how_long() -> None:
    looks = [(8, 10.0), (48, 20.0), (48, 40.0), (48, 79.0), (48, 80.0), (48, 81.0)]
    assert printed(looks)[2:] == [
        # (48 - 8) / (80 - 10) a second
        "labelled 48 of 60 images, 0.6 images/s, 0:00:21 left, no new ones for 0:01:00"
    ]


def test_what_earlier_calls_have_labelled_counts_as_done_and_not_for_the_rate() -> None:
    looks = [(0, 5.0), (10, 10.0), (20, 20.0)]
    assert printed(looks, total=100, done_before=60) == [
        "labelled 60 of 100 images, loading the model for 0:00:05",
        "labelled 70 of 100 images",
        "labelled 80 of 100 images, 1.0 images/s, 0:00:20 left",
    ]


def test_the_rate_leaves_out_the_first_images_as_it_does_their_time() -> None:
    rate = LabellingRate()
    rate.note(0, 100.0)
    assert (rate.first_images_at, rate.images_per_s) == (None, None)
    rate.note(12, 111.0)
    assert (rate.first_images_at, rate.images_per_s) == (111.0, None)
    rate.note(60, 115.0)
    assert rate.images_per_s == 12.0  # 48 images in 4 seconds, not 60


def test_a_shard_that_starts_again_gives_no_negative_rate() -> None:
    rate = LabellingRate()
    rate.note(16, 10.0)
    rate.note(8, 12.0)
    assert rate.images_per_s is None


@pytest.mark.parametrize(("looks", "shown"), [([(0, 5.0)], 0), ([(60, 5.0)], 60)])
def test_a_bar_on_a_terminal_is_drawn_and_no_line_printed(
    looks: list[tuple[int, float]], shown: int
) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True)
    with ProgressDisplay(console, total=60, done_before=0, started=0.0) as display:
        for num_images, seconds in looks:
            display.show(num_images, seconds)
    assert f"{shown} of 60 images" in stream.getvalue()
    assert "labelled" not in stream.getvalue()
