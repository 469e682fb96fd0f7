"""The textures of the second world: regular patterns instead of the first one's natural noise.

Axes: H W pixels of one region.
"""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from possam_core.playground.textures import TAU, Surface, grain, ramp_up, smooth_noise


def scalloped_sky(s: Surface) -> Float32[ndarray, "H W"]:
    """Flat air with rows of clouds like scales, paler towards the ground."""
    row_height, width = s.rng.uniform(0.12, 0.17), s.rng.uniform(0.16, 0.24)
    row = s.y / row_height
    row_index = np.floor(row)
    across = s.x / width + 0.5 * (row_index % 2.0)
    bump = np.sqrt(np.maximum(0.0, 1.0 - (2.0 * (across - np.floor(across)) - 1.0) ** 2))
    height = 1.0 - (row - row_index)  # above the base of the row
    is_cloud = height < 0.3 + 0.45 * bump
    lot = (row_index * 3.0 + np.floor(across) * 7.0).astype(np.int32) % 16
    shown = (s.rng.random(16) < 0.55)[lot]
    tone: Float32[ndarray, "H W"] = np.where(
        is_cloud & shown, np.float32(0.72) + 0.28 * height, 0.1 + 0.35 * (s.y - s.y.min())
    )
    return tone


def mown_lawn(s: Surface) -> Float32[ndarray, "H W"]:
    """Mown lanes, light and dark in turn, with short tufts."""
    lane, tuft = s.rng.uniform(0.1, 0.15), s.rng.uniform(0.028, 0.036)
    is_light = np.floor((s.x + 0.35 * s.y) / lane) % 2.0
    row = s.y / tuft
    row_index = np.floor(row)
    across = s.x / tuft + 0.5 * (row_index % 2.0)
    side = np.abs(across - np.floor(across) - 0.5)
    up = row - row_index
    is_tuft = (np.abs(side - 0.3 * (1.0 - up)) < 0.1) & (up > 0.2)
    ground: Float32[ndarray, "H W"] = 0.3 + 0.22 * is_light + grain(s, 0.1)
    return np.where(is_tuft, ground + np.float32(0.38), ground)


def bonded_bricks(s: Surface) -> Float32[ndarray, "H W"]:
    """Courses of long bricks and of short ones in turn, with dark joints and lit upper edges."""
    course = s.rng.uniform(0.07, 0.09)
    row = s.y / course
    row_index = np.floor(row)
    is_short = row_index % 2.0
    column = s.x / (course * (2.6 - 1.3 * is_short)) + 0.25 * is_short
    column_index = np.floor(column)
    shades = s.rng.random(64, np.float32) * 0.35
    tone = 0.4 + shades[(row_index * 13.0 + column_index * 5.0).astype(np.int32) % 64]
    across, along = row - row_index, column - column_index
    joint = (across < 0.1) | (along < 0.05 + 0.05 * is_short)
    tone += np.where(across < 0.26, np.float32(0.25), np.float32(0.0))
    return np.where(joint, np.float32(0.0), tone + grain(s, 0.08))


def herringbone(s: Surface) -> Float32[ndarray, "H W"]:
    """Short boards laid in zigzag, each with a shade of its own and a dark joint."""
    width = s.rng.uniform(0.042, 0.056)
    scale = np.float32(np.sqrt(0.5) / width)
    a, b = (s.x + s.y) * scale, (s.y - s.x) * scale
    cell_a, cell_b = np.floor(a).astype(np.int32), np.floor(b).astype(np.int32)
    # Of each row, four cells along are one board and four more belong to the boards across.
    step = (cell_a - cell_b) & 7
    is_along = step < 4
    start = np.where(is_along, cell_a - step, cell_b + step - 7)
    lane = np.where(is_along, cell_b, cell_a)
    shades = s.rng.random(64, np.float32) * 0.5
    tone = 0.35 + shades[(start * 11 + lane * 5 + 31 * is_along) & 63]
    length = np.where(is_along, a, b) - start.astype(np.float32)
    across = np.where(is_along, b, a) - lane.astype(np.float32)
    joint = (across < 0.14) | (length < 0.14)
    return np.where(joint, np.float32(0.0), tone + 0.1 * (smooth_noise(s, 0.03, 0.03) - 0.5))


def marble(s: Surface) -> Float32[ndarray, "H W"]:
    """Polished stone with clouds and thin branching veins."""
    drift = smooth_noise(s, 0.3, 0.3) + 0.5 * smooth_noise(s, 0.1, 0.1)
    vein = np.abs(np.sin(TAU * (1.1 * s.x + 0.7 * s.y + 1.3 * drift)))
    fine = np.abs(np.sin(TAU * (1.6 * s.x - 2.0 * s.y + 1.7 * drift)))
    tone: Float32[ndarray, "H W"] = 0.62 + 0.38 * ramp_up(vein, 0.0, 0.5)
    return tone - 0.6 * (1.0 - ramp_up(vein, 0.0, 0.14)) - 0.4 * (1.0 - ramp_up(fine, 0.0, 0.1))


def lava(s: Surface) -> Float32[ndarray, "H W"]:
    """Dark crust torn by glowing cracks."""
    field = 0.6 * smooth_noise(s, 0.16, 0.12) + 0.4 * smooth_noise(s, 0.05, 0.05)
    crack = 1.0 - ramp_up(np.abs(field - 0.5), 0.0, 0.1)
    pool = ramp_up(smooth_noise(s, 0.25, 0.2), 0.66, 0.8)
    tone: Float32[ndarray, "H W"] = 0.12 + 0.85 * np.maximum(crack, pool) + grain(s, 0.12)
    return tone


def hedge(s: Surface) -> Float32[ndarray, "H W"]:
    """Clipped foliage: two coats of small pointed leaves over darkness."""
    size = s.rng.uniform(0.034, 0.044)
    tone = np.full(s.x.shape, 0.06, np.float32)
    for coat, base in ((0.0, 0.25), (0.5, 0.5)):
        a, b = s.x / size + coat, s.y / (size * 0.8) + coat
        cell_a, cell_b = np.floor(a), np.floor(b)
        lot = (cell_a * 7.0 + cell_b * 31.0).astype(np.int32) & 127
        turn = s.rng.uniform(0.0, np.pi, 128)
        cos, sin = np.cos(turn).astype(np.float32)[lot], np.sin(turn).astype(np.float32)[lot]
        du, dv = a - cell_a - 0.5, b - cell_b - 0.5
        along, across = du * cos + dv * sin, np.abs(dv * cos - du * sin)
        shade = (base + s.rng.random(128, np.float32) * 0.35)[lot]
        np.copyto(tone, shade, where=across < 0.3 - 0.9 * along * along)
        np.copyto(tone, shade - 0.2, where=(across < 0.05) & (np.abs(along) < 0.57))
    return tone


def corrugated_metal(s: Surface) -> Float32[ndarray, "H W"]:
    """Sheets of upright ridges with sharp highlights, seams, bolts and rust."""
    ridge, sheet = s.rng.uniform(0.028, 0.036), s.rng.uniform(0.22, 0.3)
    phase = s.x / ridge
    wave = phase - np.floor(phase)
    tone = 0.3 + 0.5 * np.abs(2.0 * wave - 1.0) + 0.3 * (np.abs(wave - 0.1) < 0.07)
    row = s.y / sheet
    down = row - np.floor(row)
    tone = np.where(down < 0.05, np.float32(0.05), tone)
    bolt_u, bolt_v = (wave - 0.5) * ridge, (down - 0.13) * sheet
    is_bolt = bolt_u * bolt_u + bolt_v * bolt_v < (0.3 * ridge) ** 2
    tone = np.where(is_bolt & (np.floor(phase) % 3.0 < 1.0), np.float32(0.0), tone)
    return tone.astype(np.float32) - 0.3 * ramp_up(smooth_noise(s, 0.2, 0.3), 0.6, 0.9)


def tartan(s: Surface) -> Float32[ndarray, "H W"]:
    """Woven bands, broad and thin, that cross."""
    sett = s.rng.uniform(0.15, 0.21)

    def bands(along: Float32[ndarray, "H W"]) -> Float32[ndarray, "H W"]:
        at = along / sett - np.floor(along / sett)
        broad, thin = (at > 0.08) & (at < 0.42), (at > 0.68) & (at < 0.76)
        return np.where(broad, np.float32(0.0), np.where(thin, np.float32(1.0), np.float32(0.5)))

    weave = ((s.x + s.y) / (2.2 * s.pixel)) % 2.0 < 1.0
    both_ways = 0.5 * (bands(s.x) + bands(s.y))
    tone: Float32[ndarray, "H W"] = 0.06 + 0.86 * both_ways + np.where(weave, 0.05, -0.05)
    return tone.astype(np.float32)


def cobblestone(s: Surface) -> Float32[ndarray, "H W"]:
    """Rounded stones in bent rows, lit from above, in dark joints."""
    stone = s.rng.uniform(0.06, 0.08)
    bent = s.y + 0.05 * np.abs(np.sin(TAU * s.x * 1.6))
    row = bent / stone
    row_index = np.floor(row)
    column = s.x / (stone * 1.15) + 0.5 * (row_index % 2.0)
    column_index = np.floor(column)
    du, dv = 2.0 * (column - column_index) - 1.0, 2.0 * (row - row_index) - 1.0
    dome = 1.0 - (du * du * du * du + dv * dv * dv * dv)
    shades = s.rng.random(64, np.float32) * 0.3
    lot = (row_index * 17.0 + column_index * 5.0).astype(np.int32) % 64
    tone = 0.42 + shades[lot] - 0.16 * dv + grain(s, 0.08)
    return np.where(dome > 0.28, tone, np.float32(0.0))
