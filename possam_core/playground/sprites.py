"""Things as sprites: a class's drawing, posed, coloured, shaded and anti-aliased.

Axes: H W sample points, h w pixels of the sprite, N inks.
"""

import colorsys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt32
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageFilter

from possam_core.playground.classes import ThingClass
from possam_core.playground.shapes import Ink, Points, draw
from possam_core.playground.textures import pack_rgb

MIN_VISIBLE = 0.4  # of a thing's whole silhouette
MIN_THING_PX = 30
SUPERSAMPLED_PX = 90  # smaller things take four samples a pixel; larger ones a soft edge

# Hue families as ranges of (hue, saturation, value); hues wrap around at 1.
HUE_FAMILIES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((0.97, 1.01), (0.75, 0.95), (0.7, 0.95)),
    "orange": ((0.06, 0.09), (0.8, 1.0), (0.9, 1.0)),
    "yellow": ((0.125, 0.155), (0.7, 0.95), (0.9, 1.0)),
    "green": ((0.27, 0.4), (0.5, 0.85), (0.45, 0.8)),
    "blue": ((0.55, 0.64), (0.6, 0.9), (0.6, 0.95)),
    "purple": ((0.73, 0.79), (0.4, 0.75), (0.5, 0.85)),
    "pink": ((0.9, 0.94), (0.3, 0.55), (0.9, 1.0)),
    "brown": ((0.05, 0.085), (0.5, 0.7), (0.35, 0.6)),
    "grey": ((0.0, 1.0), (0.0, 0.08), (0.65, 0.97)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """What a scene's things share: where light comes from and how they are drawn."""

    x: float  # direction towards the light, a unit vector
    y: float
    shading: float
    has_outline: bool
    shadow: float  # opacity of drop shadows; 0 is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """One drawn thing, not yet placed."""

    rgb: Float32[ndarray, "3 h w"]  # 0..255, times coverage
    coverage: Float32[ndarray, "h w"]
    mask: Bool[ndarray, "h w"]
    needed_px: int  # how much of it must be visible


def draw_light(rng: Generator) -> Light:
    """One scene's light, drawn at random."""
    angle = rng.uniform(0.0, 2 * np.pi)
    return Light(
        x=float(np.cos(angle)),
        y=float(np.sin(angle)),
        shading=float(rng.uniform(0.05, 0.28)),
        has_outline=bool(rng.random() < 0.4),
        shadow=float(rng.uniform(0.2, 0.5)) if rng.random() < 0.6 else 0.0,
    )


def render_thing(thing: ThingClass, diameter_px: float, light: Light, rng: Generator) -> Sprite:
    """`thing` drawn upright but for a turn of up to 45 degrees, with its free parameters drawn."""
    turn, stretch = np.radians(rng.uniform(-45.0, 45.0)), float(np.exp(rng.uniform(-0.223, 0.223)))
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    radius_u, radius_v = diameter_px / 2 * stretch**0.5, diameter_px / 2 / stretch**0.5
    half_w = int(np.ceil(abs(cos) * radius_u + abs(sin) * radius_v)) + 1
    half_h = int(np.ceil(abs(sin) * radius_u + abs(cos) * radius_v)) + 1
    per_px = 2 if diameter_px < SUPERSAMPLED_PX else 1
    width, height = 2 * half_w * per_px, 2 * half_h * per_px
    x = ((np.arange(width, dtype=np.float32) + 0.5) / per_px - half_w)[None, :]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / per_px - half_h)[:, None]
    points = Points(
        u=x * (cos / radius_u) + y * (sin / radius_u),
        v=y * (cos / radius_v) - x * (sin / radius_v),
        phase=float(rng.random()),
        density=float(rng.uniform(0.85, 1.2)),
    )
    inks = draw(thing.layers, points)
    if light.has_outline:
        rim_px = max(1, round(diameter_px * per_px / 90))
        inks[_rim(inks > 0, rim_px)] = Ink.OUTLINE
    planes = _antialias(_ink_table(thing, rng)[inks], per_px)
    shade = _shade(light, diameter_px / 2, planes.shape[1], planes.shape[2])
    coverage = planes[3] / 255.0
    mask = coverage >= 0.5
    needed_px = max(MIN_THING_PX, int(np.ceil(MIN_VISIBLE * mask.sum())))
    return Sprite(rgb=planes[:3] * shade, coverage=coverage, mask=mask, needed_px=needed_px)


def _rim(inside: Bool[ndarray, "h w"], width: int) -> Bool[ndarray, "h w"]:
    """The points of `inside` that have one outside it `width` points away along an axis."""
    core = inside.copy()
    core[width:] &= inside[:-width]
    core[:-width] &= inside[width:]
    core[:, width:] &= inside[:, :-width]
    core[:, :-width] &= inside[:, width:]
    rim: Bool[ndarray, "h w"] = inside & ~core
    return rim


def _draw_colour(families: tuple[str, ...], rng: Generator) -> Float32[ndarray, " 3"]:
    ranges = HUE_FAMILIES[families[rng.integers(len(families))]]
    hue, saturation, value = (float(rng.uniform(low, high)) for low, high in ranges)
    rgb = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return np.array([channel * 255.0 for channel in rgb], np.float32)


def _ink_table(thing: ThingClass, rng: Generator) -> UInt32[ndarray, " N"]:
    """The packed colour of each ink, indexed by it; transparent first."""
    body, accent = _draw_colour(thing.body_hues, rng), _draw_colour(thing.accent_hues, rng)
    white, dark = rng.uniform(235.0, 255.0), rng.uniform(15.0, 50.0)
    colours = np.empty((len(Ink), 3), np.float32)
    colours[Ink.BODY], colours[Ink.ACCENT] = body, accent
    colours[Ink.DEEP], colours[Ink.TINT] = body * 0.6, body * 0.4 + 150.0
    colours[Ink.WHITE], colours[Ink.DARK] = white, dark
    colours[Ink.OUTLINE] = body * 0.3
    table = pack_rgb(colours)
    table[Ink.NONE] = 0
    return table


def _antialias(pixels: UInt32[ndarray, "H W"], per_px: int) -> Float32[ndarray, "4 h w"]:
    """Red, green, blue (times coverage) and coverage, each in 0..255, at image resolution."""
    height, width = pixels.shape
    # CMYK is Pillow's one mode of four plain bytes; RGBA would divide by the coverage.
    samples = Image.frombuffer("CMYK", (width, height), pixels, "raw", "CMYK", 0, 1)
    smooth = samples.reduce(2) if per_px == 2 else samples.filter(ImageFilter.BoxBlur(0.5))
    return np.moveaxis(np.asarray(smooth), -1, 0).astype(np.float32, order="C")


def _shade(light: Light, radius_px: float, height: int, width: int) -> Float32[ndarray, "h w"]:
    """A factor that is above one on the side of the light and below one on the other."""
    x = (np.arange(width, dtype=np.float32) - width / 2) * (light.x * light.shading / radius_px)
    y = (np.arange(height, dtype=np.float32) - height / 2) * (light.y * light.shading / radius_px)
    return np.float32(1.0) + x[None, :].astype(np.float32) + y[:, None].astype(np.float32)
