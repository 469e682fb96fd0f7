"""Silhouettes and patterns at points with known answers."""

import numpy as np
import pytest

from possam_core.playground import PLAYGROUND, WORKSHOP
from possam_core.playground.shapes import (
    Ink,
    Points,
    Shape,
    add,
    box,
    checks,
    convex,
    cut,
    disc,
    draw,
    ellipse,
    mirrored,
    paint,
    placed,
    ring,
    star,
    stripes,
)

THINGS = (*PLAYGROUND.things, *WORKSHOP.things)


def make_points(*uv: tuple[float, float], phase: float = 0.0) -> Points:
    u, v = np.array(uv, np.float32).T
    return Points(u=u[None], v=v[None], phase=phase, density=1.0)


def make_grid(size: int) -> Points:
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2.4 / size) - 1.2
    u, v = np.meshgrid(axis, axis)
    return Points(u=u, v=v, phase=0.25, density=1.0)


@pytest.mark.parametrize(
    ("shape", "within", "beyond"),
    [
        (disc(0.5, 0.0, 0.2), (0.6, 0.1), (0.2, 0.0)),
        (ring(0.0, 0.0, 1.0, 0.5), (0.7, 0.0), (0.0, 0.0)),
        (box(0.0, 0.0, 1.0, 0.5), (0.9, 0.4), (0.9, 0.6)),
        (ellipse(0.0, 0.0, 1.0, 0.2, 90.0), (0.0, 0.9), (0.9, 0.0)),
        (convex((0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)), (0.0, 0.0), (0.8, -0.5)),
        (star(5, 0.4, 1.0), (0.0, -0.95), (0.0, 0.6)),
        (checks(0.5), (0.25, 0.25), (0.75, 0.25)),
        (stripes(1.0, 0.5, 0.0), (0.25, 0.7), (0.75, 0.7)),
        (placed(box(0, 0, 1, 1), 0.5, 0.5, 0.4, 90.0), (0.3, 0.7), (0.7, 0.7)),
        (mirrored(disc(0.5, 0.0, 0.2)), (-0.5, 0.0), (0.0, 0.0)),
    ],
    ids=["disc", "ring", "box", "ellipse", "convex", "star", "checks", "stripes", "put", "mirror"],
)
def test_shape_holds_one_point_and_not_the_other(
    shape: Shape, within: tuple[float, float], beyond: tuple[float, float]
) -> None:
    assert shape(make_points(within, beyond)).tolist() == [[True, False]]


def test_phase_moves_stripes_by_a_fraction_of_their_period() -> None:
    pattern = stripes(1.0, 0.5, 0.0)
    assert pattern(make_points((0.25, 0.0), (0.75, 0.0), phase=0.5)).tolist() == [[False, True]]


def test_draw_paints_inside_only_and_cuts_through() -> None:
    layers = (
        add(Ink.BODY, box(0, 0, 2, 1)),
        paint(Ink.WHITE, box(1, 0, 4, 1)),
        add(Ink.DARK, box(3, 0, 4, 1)),
        cut(box(-1, 0, 0.4, 1)),
    )
    points = make_points((0.2, 0.5), (0.8, 0.5), (1.5, 0.5), (2.5, 0.5), (3.5, 0.5))
    assert draw(layers, points).tolist() == [[Ink.NONE, Ink.BODY, Ink.WHITE, Ink.NONE, Ink.DARK]]


@pytest.mark.parametrize("thing", THINGS, ids=lambda t: t.name)
def test_thing_fills_its_frame_and_stays_in_it(thing) -> None:
    points = make_grid(96)
    inks = draw(thing.layers, points)
    used_u, used_v = np.abs(points.u[inks > 0]), np.abs(points.v[inks > 0])
    assert 0.83 < max(used_u.max(), used_v.max()) < 1.04
    assert np.count_nonzero(inks) > 0.12 * 80 * 80  # of the frame, which spans 80 of 96 samples


def test_no_two_things_of_any_world_have_nearly_the_same_drawing() -> None:
    drawings = [draw(t.layers, make_grid(32)) for t in THINGS]
    for i, first in enumerate(drawings):
        for j, second in enumerate(drawings[:i]):
            painted = (first > 0) | (second > 0)
            differs = np.count_nonzero(first != second) / np.count_nonzero(painted)
            assert differs > 0.2, (THINGS[i].name, THINGS[j].name)
