from pipelines.label.stages import StageClock, bottleneck


def test_the_stage_that_takes_most_is_named_with_a_remedy() -> None:
    seconds = {"fetch": 1.0, "decode": 1.0, "model": 7.0, "encode": 0.5, "write": 0.5}
    verdict = bottleneck(seconds, num_images=32)
    assert verdict.startswith("bound by model (fetch 10%, decode 10%, model 70%, encode 5%")
    assert "a GPU" in verdict


def test_nothing_stands_out_when_no_stage_takes_half() -> None:
    seconds = {"fetch": 4.0, "decode": 4.0, "model": 2.0, "encode": 0.0, "write": 0.0}
    assert bottleneck(seconds, num_images=32).startswith(
        "no stage stands out (fetch 40%, decode 40%, model 20%"
    )


def test_without_times_there_is_no_verdict() -> None:
    assert bottleneck(StageClock().seconds, num_images=32) == ""


def test_a_run_of_few_images_gets_no_advice() -> None:
    seconds = {"fetch": 0.0, "decode": 0.0, "model": 0.1, "encode": 0.0, "write": 0.9}
    assert bottleneck(seconds, num_images=1) == ""
    assert bottleneck(seconds, num_images=32).startswith("bound by write")


def test_the_clock_adds_up_by_stage() -> None:
    clock = StageClock()
    for _ in range(2):
        with clock.held_up_by("write"):
            pass
    assert clock.seconds["write"] > 0
    assert sum(clock.seconds.values()) == clock.seconds["write"]
