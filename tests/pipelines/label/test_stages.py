from pipelines.label.stages import StageClock, bottleneck


def test_the_stage_that_takes_most_is_named_with_a_remedy() -> None:
    seconds = {"fetch": 1.0, "decode": 1.0, "model": 7.0, "encode": 0.5, "write": 0.5}
    verdict = bottleneck(seconds)
    assert verdict.startswith("bound by model (fetch 10%, decode 10%, model 70%, encode 5%")
    assert "a GPU" in verdict


def test_nothing_stands_out_when_no_stage_takes_half() -> None:
    seconds = {"fetch": 4.0, "decode": 4.0, "model": 2.0, "encode": 0.0, "write": 0.0}
    assert bottleneck(seconds).startswith("no stage stands out (fetch 40%, decode 40%, model 20%")


def test_without_times_there_is_no_verdict() -> None:
    assert bottleneck(StageClock().seconds) == ""


def test_the_clock_adds_up_by_stage() -> None:
    clock = StageClock()
    for _ in range(2):
        with clock.held_up_by("write"):
            pass
    assert clock.seconds["write"] > 0
    assert sum(clock.seconds.values()) == clock.seconds["write"]
