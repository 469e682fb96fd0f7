"""Lines with a width: straight, bent and wound.

Axes: H W sample points of one drawing, in the coordinates of `shapes`.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from possam_core.playground.shapes import Points, Shape, union


def stroke(half_width: float, *corners: tuple[float, float]) -> Shape:
    """A line through `corners` with round ends."""
    return union(*(_segment(half_width, start, end) for start, end in pairwise(corners)))


def _segment(half_width: float, start: tuple[float, float], end: tuple[float, float]) -> Shape:
    step_u, step_v = end[0] - start[0], end[1] - start[1]
    squared = step_u * step_u + step_v * step_v

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        du, dv = p.u - start[0], p.v - start[1]
        along = du * (step_u / squared)
        along += dv * (step_v / squared)
        np.clip(along, 0.0, 1.0, out=along)
        du -= along * step_u
        dv -= along * step_v
        du *= du
        dv *= dv
        du += dv
        covered: Bool[ndarray, "H W"] = du < half_width * half_width
        return covered

    return inside


def arc(
    u: float, v: float, radius: float, half_width: float, start_deg: float, stop_deg: float
) -> Shape:
    """A part of a circle line, clockwise from `start_deg`; 0 is up, and the ends are straight."""
    span = np.radians(stop_deg - start_deg)
    start = np.radians(start_deg)

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        du, dv = p.u - u, p.v - v
        turned = (np.arctan2(du, -dv) - start) % (2 * np.pi)
        covered: Bool[ndarray, "H W"] = (np.abs(np.hypot(du, dv) - radius) < half_width) & (
            turned < span
        )
        return covered

    return inside


def spiral(u: float, v: float, pitch: float, duty: float) -> Shape:
    """A line that winds outwards without end by `pitch` a turn and fills `duty` of it."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        du, dv = p.u - u, p.v - v
        turns = np.arctan2(dv, du) / (2 * np.pi)
        covered: Bool[ndarray, "H W"] = (np.hypot(du, dv) / pitch - turns) % 1.0 < duty
        return covered

    return inside
