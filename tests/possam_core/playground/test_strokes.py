"""Lines with a width at points with known answers."""

import numpy as np
import pytest

from possam_core.playground.shapes import Points, Shape
from possam_core.playground.strokes import arc, spiral, stroke


def inside(shape: Shape, *uv: tuple[float, float]) -> list[bool]:
    u, v = np.array(uv, np.float32).T
    return shape(Points(u=u[None], v=v[None], phase=0.0, density=1.0))[0].tolist()


def test_a_stroke_is_round_at_its_ends_and_its_corners() -> None:
    line = stroke(0.1, (0.0, 0.0), (0.5, 0.0), (0.5, 0.5))
    assert inside(line, (0.25, 0.09), (-0.09, 0.0), (0.57, -0.07), (0.5, 0.59)) == [True] * 4
    assert inside(line, (0.25, 0.11), (-0.08, 0.08), (0.58, -0.08), (0.3, 0.3)) == [False] * 4


def test_a_stroke_leaves_its_points_as_they_were() -> None:
    points = Points(
        u=np.zeros((1, 2), np.float32), v=np.ones((1, 2), np.float32), phase=0.0, density=1.0
    )
    stroke(0.1, (0.3, 0.4), (0.5, 0.6))(points)
    assert (points.u.tolist(), points.v.tolist()) == ([[0.0, 0.0]], [[1.0, 1.0]])


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 95, [True, True, False, False]),
        (80, 190, [False, True, True, False]),
        (260, 370, [True, False, False, True]),
    ],
)
def test_an_arc_runs_clockwise_from_up(start: float, stop: float, expected: list[bool]) -> None:
    bent = arc(0.1, 0.2, 0.5, 0.1, start, stop)
    up, right, down, left = (0.1, -0.3), (0.6, 0.2), (0.1, 0.7), (-0.4, 0.2)
    assert inside(bent, up, right, down, left) == expected
    assert inside(bent, (0.1, 0.2), (0.8, 0.19)) == [False, False]


def test_a_spiral_is_a_pitch_further_out_a_turn_later() -> None:
    wound = spiral(0.0, 0.0, 0.4, 0.5)
    right = [(0.1, 0.001), (0.3, 0.001), (0.5, 0.001), (0.7, 0.001)]
    assert inside(wound, *right) == [True, False, True, False]
    down = [(0.0, 0.05), (0.0, 0.2), (0.0, 0.4)]  # a quarter turn: a quarter pitch further out
    assert inside(wound, *down) == [False, True, False]
