"""The look of the scenes of a world, whatever they show: composition, drawing and camera.

A pair is the two ends of a uniform range, unless it says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Span = tuple[float, float]
HueFamilies = Mapping[str, tuple[Span, Span, Span]]  # (hue, saturation, value); hues wrap at 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """The contents of a scene, and their layout."""

    long_side_px: tuple[int, int]  # both may be drawn
    log2_aspect: Span  # of width over height
    layout: Literal["waves", "rooms"]  # of stuff: half planes with wavy borders, or rooms
    num_regions: tuple[int, int]  # of stuff
    num_things: tuple[int, int]
    diameter: Span  # of things, in short sides; its logarithm is uniform
    texture_tilt: float  # slope of stuff, both ways
    texture_gain: Span  # brightness of stuff, as a whole
    texture_tint: Span  # and of each channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Colours, outlines and light of things."""

    max_turn_deg: float  # both ways
    supersampled_px: float  # smaller things take four samples a pixel; larger ones a soft edge
    hues: HueFamilies
    deep: float  # factor on the body's colour
    tint: tuple[float, float]  # factor on the body's colour, and what is added
    white: Span
    dark: Span
    outline: float  # factor on the body's colour
    outline_share: float  # of scenes in which things have one
    outlines_per_diameter: float  # how many outlines, side by side, are as wide as a thing
    light_angle: Span  # towards the light, in radians, 0 to the right and pi / 2 down
    shading: Span  # how much brighter the side towards the light is, and darker the other
    hatch_share: float  # of scenes in which the side away from the light is hatched
    hatch: Span  # opacity of the lines
    shadow_share: float  # of scenes in which things cast one
    shadow: Span  # opacity
    shadow_blur: float  # in sizes of the thing
    shadow_offset: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """The steps from a scene to pixels."""

    gain: Span
    tint: Span  # of each channel
    cast: tuple[float, float, float]  # the same in every scene, of red, green and blue
    light_fall: float  # slope of the light from the middle to a side, both ways
    vignette: Span  # how much darker the corners are
    noise: Span  # standard deviation, in levels of 0..255
    blur_share: float
    blur_px: Span
    jpeg_share: float
    jpeg_quality: tuple[int, int]  # both may be drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Everything that makes the pictures of one world look different from those of another."""

    composition: Composition
    drawing: Drawing
    camera: Camera


ANY_ANGLE = (0.0, 2 * np.pi)

# Toys under a lamp: saturated, mostly without outlines, on wavy half planes.
PLAYGROUND_STYLE = Style(
    composition=Composition(
        long_side_px=(160, 320),
        log2_aspect=(-1.0, 1.0),
        layout="waves",
        num_regions=(1, 4),
        num_things=(2, 9),
        diameter=(0.08, 0.8),
        texture_tilt=0.12,
        texture_gain=(0.88, 1.12),
        texture_tint=(0.94, 1.06),
    ),
    drawing=Drawing(
        max_turn_deg=45.0,
        supersampled_px=90.0,
        hues={
            "red": ((0.97, 1.01), (0.75, 0.95), (0.7, 0.95)),
            "orange": ((0.06, 0.09), (0.8, 1.0), (0.9, 1.0)),
            "yellow": ((0.125, 0.155), (0.7, 0.95), (0.9, 1.0)),
            "green": ((0.27, 0.4), (0.5, 0.85), (0.45, 0.8)),
            "blue": ((0.55, 0.64), (0.6, 0.9), (0.6, 0.95)),
            "purple": ((0.73, 0.79), (0.4, 0.75), (0.5, 0.85)),
            "pink": ((0.9, 0.94), (0.3, 0.55), (0.9, 1.0)),
            "brown": ((0.05, 0.085), (0.5, 0.7), (0.35, 0.6)),
            "grey": ((0.0, 1.0), (0.0, 0.08), (0.65, 0.97)),
        },
        deep=0.6,
        tint=(0.4, 150.0),
        white=(235.0, 255.0),
        dark=(15.0, 50.0),
        outline=0.3,
        outline_share=0.4,
        outlines_per_diameter=90.0,
        light_angle=ANY_ANGLE,
        shading=(0.05, 0.28),
        hatch_share=0.0,
        hatch=(0.0, 0.0),
        shadow_share=0.6,
        shadow=(0.2, 0.5),
        shadow_blur=0.03,
        shadow_offset=0.06,
    ),
    camera=Camera(
        gain=(0.75, 1.15),
        tint=(0.94, 1.06),
        cast=(1.0, 1.0, 1.0),
        light_fall=0.15,
        vignette=(0.0, 0.0),
        noise=(0.0, 6.0),
        blur_share=0.5,
        blur_px=(0.2, 0.7),
        jpeg_share=0.5,
        jpeg_quality=(60, 95),
    ),
)

# Prints in a tinted book: muted, always outlined, hatched in the shade, in rooms.
WORKSHOP_STYLE = Style(
    composition=Composition(
        long_side_px=(192, 288),
        log2_aspect=(-0.2, 0.8),
        layout="rooms",
        num_regions=(2, 5),
        num_things=(4, 14),
        diameter=(0.08, 0.6),
        texture_tilt=0.03,
        texture_gain=(0.94, 1.06),
        texture_tint=(0.97, 1.03),
    ),
    drawing=Drawing(
        max_turn_deg=25.0,
        supersampled_px=40.0,
        hues={
            "brick": ((0.0, 0.03), (0.45, 0.62), (0.6, 0.78)),
            "ochre": ((0.1, 0.125), (0.45, 0.62), (0.74, 0.88)),
            "olive": ((0.17, 0.22), (0.32, 0.5), (0.45, 0.66)),
            "sage": ((0.33, 0.42), (0.16, 0.32), (0.55, 0.74)),
            "teal": ((0.47, 0.52), (0.32, 0.52), (0.42, 0.64)),
            "slate": ((0.57, 0.63), (0.24, 0.42), (0.45, 0.66)),
            "plum": ((0.84, 0.9), (0.26, 0.44), (0.42, 0.6)),
            "rose": ((0.96, 1.0), (0.2, 0.34), (0.8, 0.92)),
            "sand": ((0.09, 0.12), (0.16, 0.3), (0.78, 0.92)),
            "stone": ((0.08, 0.14), (0.03, 0.1), (0.55, 0.75)),
        },
        deep=0.72,
        tint=(0.55, 105.0),
        white=(222.0, 240.0),
        dark=(42.0, 66.0),
        outline=0.14,
        outline_share=1.0,
        outlines_per_diameter=42.0,
        light_angle=(-0.85 * np.pi, -0.6 * np.pi),
        shading=(0.16, 0.36),
        hatch_share=0.5,
        hatch=(0.12, 0.3),
        shadow_share=0.9,
        shadow=(0.3, 0.55),
        shadow_blur=0.008,
        shadow_offset=0.1,
    ),
    camera=Camera(
        gain=(0.88, 1.08),
        tint=(0.98, 1.02),
        cast=(1.04, 0.99, 0.88),
        light_fall=0.05,
        vignette=(0.08, 0.3),
        noise=(2.0, 9.0),
        blur_share=0.25,
        blur_px=(0.2, 0.5),
        jpeg_share=0.7,
        jpeg_quality=(40, 85),
    ),
)
