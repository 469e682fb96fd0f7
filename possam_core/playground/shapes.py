"""Silhouettes and patterns: plane sets on local coordinates, and drawings painted from them.

Axes: H W sample points of one drawing. A drawing lives in u, v in [-1, 1]: u to the right, v down.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Where a drawing is sampled, and what varies from one instance of it to the next."""

    u: Float32[ndarray, "H W"]
    v: Float32[ndarray, "H W"]
    phase: float  # shift of its patterns, in [0, 1) periods
    density: float  # factor on the number of stripes, dots and rings


Shape = Callable[[Points], Bool[ndarray, "H W"]]


class Ink(IntEnum):
    """What a layer is painted with; 0 is transparent."""

    NONE = 0
    BODY = 1  # the hue that varies within the class
    ACCENT = 2  # a second hue
    DEEP = 3  # a shade of the body's hue
    TINT = 4  # the body's hue mixed with white
    WHITE = 5
    DARK = 6
    OUTLINE = 7  # a dark rim that some scenes draw around every thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One coat of ink; layers are applied in order."""

    ink: Ink
    shape: Shape
    extends: bool  # may grow the silhouette; otherwise it stays inside what is painted


def add(ink: Ink, shape: Shape) -> Layer:
    """A layer that is part of the silhouette."""
    return Layer(ink=ink, shape=shape, extends=True)


def paint(ink: Ink, shape: Shape) -> Layer:
    """A layer that only recolours what is there."""
    return Layer(ink=ink, shape=shape, extends=False)


def cut(shape: Shape) -> Layer:
    """A layer that punches a hole."""
    return Layer(ink=Ink.NONE, shape=shape, extends=True)


def draw(layers: tuple[Layer, ...], points: Points) -> UInt8[ndarray, "H W"]:
    """The ink at each point after all layers; 0 outside the silhouette."""
    inks = np.zeros(points.u.shape, np.uint8)
    for layer in layers:
        covered = layer.shape(points)
        if not layer.extends:
            covered = covered & (inks > 0)
        np.putmask(inks, covered, int(layer.ink))
    return inks


def union(*shapes: Shape) -> Shape:
    """In any of `shapes`."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        covered = shapes[0](p)
        for shape in shapes[1:]:
            covered = covered | shape(p)
        return covered

    return inside


def both(first: Shape, second: Shape) -> Shape:
    """In `first` and in `second`."""
    return lambda p: first(p) & second(p)


def minus(first: Shape, second: Shape) -> Shape:
    """In `first`, not in `second`."""
    return lambda p: first(p) & ~second(p)


def disc(u: float, v: float, radius: float) -> Shape:
    """A disc around (u, v)."""
    return lambda p: (p.u - u) ** 2 + (p.v - v) ** 2 < radius * radius


def discs(radius: float, *centres: tuple[float, float]) -> Shape:
    """Equal discs around `centres`."""
    return union(*(disc(u, v, radius) for u, v in centres))


def ring(u: float, v: float, outer: float, inner: float) -> Shape:
    """A disc with a round hole."""
    return minus(disc(u, v, outer), disc(u, v, inner))


def ellipse(u: float, v: float, ru: float, rv: float, tilt_deg: float = 0.0) -> Shape:
    """An ellipse around (u, v) with half-axes `ru`, `rv`, turned clockwise by `tilt_deg`."""
    cos, sin = float(np.cos(np.radians(tilt_deg))), float(np.sin(np.radians(tilt_deg)))

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        du, dv = p.u - u, p.v - v
        along, across = du * (cos / ru) + dv * (sin / ru), dv * (cos / rv) - du * (sin / rv)
        return along * along + across * across < 1.0

    return inside


def box(u0: float, v0: float, u1: float, v1: float) -> Shape:
    """The rectangle from (u0, v0) to (u1, v1)."""
    return lambda p: (p.u > u0) & (p.u < u1) & (p.v > v0) & (p.v < v1)


def rounded_box(u: float, v: float, half_u: float, half_v: float, corner: float) -> Shape:
    """A rectangle around (u, v) with quarter-circle corners."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        du = np.maximum(np.abs(p.u - u) - (half_u - corner), 0.0)
        dv = np.maximum(np.abs(p.v - v) - (half_v - corner), 0.0)
        covered: Bool[ndarray, "H W"] = du * du + dv * dv < corner * corner
        return covered

    return inside


def convex(*corners: tuple[float, float]) -> Shape:
    """A convex polygon; `corners` run clockwise as seen on screen."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        covered = np.ones(p.u.shape, np.bool_)
        for (u0, v0), (u1, v1) in zip(corners, corners[1:] + corners[:1], strict=True):
            covered &= p.v * (u1 - u0) - p.u * (v1 - v0) > v0 * (u1 - u0) - u0 * (v1 - v0)
        return covered

    return inside


def star(points: int, inner: float, outer: float) -> Shape:
    """A star with one point straight up."""
    wedge = np.pi / points
    notch_u, notch_v = inner * float(np.cos(wedge)), inner * float(np.sin(wedge))

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        radius = np.hypot(p.u, p.v)
        angle = np.abs((np.arctan2(p.u, -p.v) + wedge) % (2 * wedge) - wedge)
        along, across = radius * np.cos(angle), radius * np.sin(angle)
        covered: Bool[ndarray, "H W"] = (along - outer) * notch_v + across * (outer - notch_u) < 0.0
        return covered

    return inside


def petals(count: int, inner: float, outer: float) -> Shape:
    """A rosette of `count` round petals, one straight up."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        bulge = np.abs(np.cos(np.arctan2(p.u, -p.v) * (count / 2)))
        covered: Bool[ndarray, "H W"] = np.hypot(p.u, p.v) < inner + (outer - inner) * np.sqrt(
            bulge
        )
        return covered

    return inside


def cog(count: int, inner: float, outer: float) -> Shape:
    """A wheel with `count` square teeth."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        is_tooth = np.cos(np.arctan2(p.u, -p.v) * count) > 0.0
        covered: Bool[ndarray, "H W"] = np.hypot(p.u, p.v) < np.where(is_tooth, outer, inner)
        return covered

    return inside


def heart() -> Shape:
    """A heart that fills the square."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        x, y = p.u * 1.17, 0.12 - p.v * 1.12
        bulge = x * x + y * y - 1.0
        return bulge * bulge * bulge - x * x * y * y * y < 0.0

    return inside


def wavy_line(v0: float, v1: float, half_width: float, sway: float) -> Shape:
    """An upright wavy line on the axis, from `v0` to `v1`."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        offset = p.u - sway * np.sin((p.v - v0) * 9.0)
        return (np.abs(offset) < half_width) & (p.v > v0) & (p.v < v1)

    return inside


def stripes(period: float, duty: float, angle_deg: float) -> Shape:
    """Parallel bands; at 0 degrees they stand upright. Their number and phase vary."""
    cos, sin = float(np.cos(np.radians(angle_deg))), float(np.sin(np.radians(angle_deg)))

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        scale = p.density / period
        return (p.u * (cos * scale) + p.v * (sin * scale) + p.phase) % 1.0 < duty

    return inside


def chevrons(period: float, duty: float) -> Shape:
    """V-shaped bands that point down, as the veins of a leaf do."""
    return lambda p: ((p.v + 0.8 * np.abs(p.u)) * (p.density / period) + p.phase) % 1.0 < duty


def rings(period: float, duty: float) -> Shape:
    """Concentric bands around the middle; their number varies."""
    return lambda p: np.hypot(p.u, p.v) * (p.density / period) % 1.0 < duty


def sectors(count: int, start: float, stop: float) -> Shape:
    """Of each of `count` equal wedges, the fraction from `start` to `stop`; their turn varies."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        turn = (np.arctan2(p.u, p.v) * (count / (2 * np.pi)) + p.phase) % 1.0
        covered: Bool[ndarray, "H W"] = (turn >= start) & (turn < stop)
        return covered

    return inside


def spokes(u: float, v: float, count: int, half_width: float) -> Shape:
    """`count` straight lines through (u, v)."""

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        du, dv = p.u - u, p.v - v
        tangential = np.abs(np.sin(np.arctan2(dv, du) * count)) * np.hypot(du, dv)
        covered: Bool[ndarray, "H W"] = tangential < half_width * count
        return covered

    return inside


def checks(cell: float) -> Shape:
    """Every second square of a board with a corner in the middle."""
    return lambda p: (np.floor(p.u / cell) + np.floor(p.v / cell)) % 2.0 < 1.0


def placed(shape: Shape, u: float, v: float, size: float, turn_deg: float = 0.0) -> Shape:
    """`shape` around (u, v) instead of (0, 0), `size` times as large, turned clockwise."""
    cos, sin = float(np.cos(np.radians(turn_deg))), float(np.sin(np.radians(turn_deg)))

    def inside(p: Points) -> Bool[ndarray, "H W"]:
        du, dv = (p.u - u) / size, (p.v - v) / size
        return shape(replace(p, u=du * cos + dv * sin, v=dv * cos - du * sin))

    return inside


def mirrored(shape: Shape) -> Shape:
    """What `shape` covers on the right of the axis, and its mirror image on the left."""
    return lambda p: shape(replace(p, u=np.abs(p.u)))
