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

from possam_core.playground.designs import ThingClass
from possam_core.playground.shapes import Ink, Points, draw
from possam_core.playground.style import Drawing, HueFamilies
from possam_core.playground.textures import pack_rgb

MIN_VISIBLE = 0.4  # of a thing's whole silhouette
MIN_THING_PX = 30
HATCH_PX = 4  # from one line to the next, along the rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Settings shared by the things of a scene: direction of the light, and style of drawing."""

    x: float  # direction towards the light, a unit vector
    y: float
    shading: float
    has_outline: bool
    shadow: float  # opacity of drop shadows; 0 is none
    shadow_blur: float  # in sizes of the thing
    shadow_offset: float
    hatch: float  # opacity of the lines on the side away from the light; 0 is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """One drawn thing, not yet placed."""

    rgb: Float32[ndarray, "3 h w"]  # 0..255, times coverage
    coverage: Float32[ndarray, "h w"]
    mask: Bool[ndarray, "h w"]
    diameter_px: float  # as asked for, before it was stretched
    needed_px: int  # how much of it must be visible


def draw_light(drawing: Drawing, rng: Generator) -> Light:
    """One scene's light, drawn at random."""
    angle = rng.uniform(*drawing.light_angle)
    return Light(
        x=float(np.cos(angle)),
        y=float(np.sin(angle)),
        shading=float(rng.uniform(*drawing.shading)),
        has_outline=bool(rng.random() < drawing.outline_share),
        shadow=float(rng.uniform(*drawing.shadow)) if rng.random() < drawing.shadow_share else 0.0,
        shadow_blur=drawing.shadow_blur,
        shadow_offset=drawing.shadow_offset,
        hatch=(
            float(rng.uniform(*drawing.hatch))
            if drawing.hatch_share and rng.random() < drawing.hatch_share
            else 0.0
        ),
    )


def render_thing(
    thing: ThingClass, diameter_px: float, light: Light, drawing: Drawing, rng: Generator
) -> Sprite:
    """`thing` drawn upright but for a small turn, with its free parameters drawn."""
    turn = np.radians(rng.uniform(-drawing.max_turn_deg, drawing.max_turn_deg))
    stretch = float(np.exp(rng.uniform(-0.223, 0.223)))
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    radius_u, radius_v = diameter_px / 2 * stretch**0.5, diameter_px / 2 / stretch**0.5
    half_w = int(np.ceil(abs(cos) * radius_u + abs(sin) * radius_v)) + 1
    half_h = int(np.ceil(abs(sin) * radius_u + abs(cos) * radius_v)) + 1
    per_px = 2 if diameter_px < drawing.supersampled_px else 1
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
        rim_px = max(1, round(diameter_px * per_px / drawing.outlines_per_diameter))
        inks[_rim(inks > 0, rim_px)] = Ink.OUTLINE
    planes = _antialias(_ink_table(thing, drawing, rng)[inks], per_px)
    shade = _shade(light, diameter_px / 2, planes.shape[1], planes.shape[2])
    coverage = planes[3] / 255.0
    mask = coverage >= 0.5
    return Sprite(
        rgb=planes[:3] * shade,
        coverage=coverage,
        mask=mask,
        diameter_px=diameter_px,
        needed_px=max(MIN_THING_PX, int(np.ceil(MIN_VISIBLE * mask.sum()))),
    )


def _rim(inside: Bool[ndarray, "h w"], width: int) -> Bool[ndarray, "h w"]:
    """The points of `inside` that have one outside it `width` points away along an axis."""
    core = inside.copy()
    core[width:] &= inside[:-width]
    core[:-width] &= inside[width:]
    core[:, width:] &= inside[:, :-width]
    core[:, :-width] &= inside[:, width:]
    rim: Bool[ndarray, "h w"] = inside & ~core
    return rim


def _draw_colour(
    families: tuple[str, ...], hues: HueFamilies, rng: Generator
) -> Float32[ndarray, " 3"]:
    ranges = hues[families[rng.integers(len(families))]]
    hue, saturation, value = (float(rng.uniform(low, high)) for low, high in ranges)
    rgb = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return np.array([channel * 255.0 for channel in rgb], np.float32)


def _ink_table(thing: ThingClass, drawing: Drawing, rng: Generator) -> UInt32[ndarray, " N"]:
    """The packed colour of each ink, indexed by it; transparent first."""
    body = _draw_colour(thing.body_hues, drawing.hues, rng)
    accent = _draw_colour(thing.accent_hues, drawing.hues, rng)
    white, dark = rng.uniform(*drawing.white), rng.uniform(*drawing.dark)
    share, plus = drawing.tint
    colours = np.empty((len(Ink), 3), np.float32)
    colours[Ink.BODY], colours[Ink.ACCENT] = body, accent
    colours[Ink.DEEP], colours[Ink.TINT] = body * drawing.deep, body * share + plus
    colours[Ink.WHITE], colours[Ink.DARK] = white, dark
    colours[Ink.OUTLINE] = body * drawing.outline
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
    x = np.arange(width, dtype=np.float32) - width / 2
    y = np.arange(height, dtype=np.float32) - height / 2
    along_x = (x * (light.x * light.shading / radius_px)).astype(np.float32)
    along_y = (y * (light.y * light.shading / radius_px)).astype(np.float32)
    shade: Float32[ndarray, "h w"] = np.float32(1.0) + along_x[None, :] + along_y[:, None]
    if light.hatch:
        is_line = (x[None, :] + y[:, None]) % HATCH_PX < HATCH_PX / 2
        np.multiply(shade, 1.0 - light.hatch, out=shade, where=is_line & (shade < 1.0))
    return shade
