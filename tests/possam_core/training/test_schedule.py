import pytest

from possam_core.errors import ConfigError
from possam_core.training.schedule import ScheduleConfig, learning_rate


def rates(schedule: ScheduleConfig, steps: list[int], num_steps: int = 100) -> list[float]:
    return [learning_rate(s, peak=2.0, num_steps=num_steps, schedule=schedule) for s in steps]


def test_the_rate_warms_up_in_equal_steps_to_its_peak() -> None:
    schedule = ScheduleConfig(warmup_steps=4)
    assert rates(schedule, [0, 1, 2, 3, 4]) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])


def test_cosine_is_half_way_down_half_way_through_and_ends_at_a_hundredth() -> None:
    schedule = ScheduleConfig(kind="cosine", warmup_steps=0)
    assert rates(schedule, [0, 50, 100]) == pytest.approx([2.0, (2.0 + 0.02) / 2, 0.02])


def test_step_falls_to_a_tenth_at_each_drop() -> None:
    schedule = ScheduleConfig(kind="step", warmup_steps=0, drop_steps=(60, 90))
    assert rates(schedule, [59, 60, 89, 90]) == pytest.approx([2.0, 0.2, 0.2, 0.02])


def test_poly_falls_with_the_power_of_what_is_left() -> None:
    schedule = ScheduleConfig(kind="poly", warmup_steps=0, power=2.0)
    assert rates(schedule, [0, 50, 100]) == pytest.approx([2.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kind": "step"}, "drop_steps must name steps"),
        ({"kind": "poly", "drop_steps": (5,)}, "for no other"),
        ({"warmup_steps": -1}, "warmup_steps must be 0 or more"),
        ({"power": 0.0}, "power must be more than 0"),
    ],
)
def test_an_impossible_schedule_is_refused(settings: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ScheduleConfig(**settings)
