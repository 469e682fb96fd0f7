"""When the workers' reports make the board stop a job."""

from pipelines.label.board import ProgressBoard


def test_an_attempt_that_starts_again_counts_from_zero() -> None:
    board = ProgressBoard(error_budget=1.0, num_workers=1)
    board.report(0, 64, 3)
    board.report(1, 8, 0)
    board.report(0, 8, 0)
    assert board.num_images() == 16


def test_too_many_failures_stop_the_job_and_say_how_many() -> None:
    board = ProgressBoard(error_budget=0.1, num_workers=1)
    board.report(0, 900, 90)
    board.report(1, 100, 10)
    assert board.reason_to_stop() == ""  # a tenth is within the budget
    board.report(1, 101, 11)
    reason = "101 of 1,001 images failed (10.1%), which is over the error budget of 10.0%"
    assert board.reason_to_stop() == reason


def test_a_few_images_are_too_few_to_judge_by() -> None:
    board = ProgressBoard(error_budget=0.1, num_workers=1)
    board.report(0, 999, 999)
    assert board.reason_to_stop() == ""


def test_shard_after_shard_left_open_stops_the_job_unless_one_is_committed() -> None:
    board = ProgressBoard(error_budget=1.0, num_workers=2)
    for _ in range(3):
        board.note_open("the store is asleep")
    board.note_commit()
    for _ in range(3):
        board.note_open("the store is asleep")
    assert board.reason_to_stop() == ""
    board.note_open("the store is asleep")
    assert board.reason_to_stop() == "4 shards in a row stayed open (the store is asleep)"


def test_the_first_reason_to_stop_is_kept() -> None:
    board = ProgressBoard(error_budget=1.0, num_workers=1)
    board.stop("first")
    board.stop("second")
    assert board.reason_to_stop() == "first"
