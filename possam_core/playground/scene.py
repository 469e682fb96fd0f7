"""Procedural panoptic scenes: textured regions under anti-aliased things, lit and photographed.

Axes: H W pixels of the scene, h w pixels of one patch of it.
"""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8, UInt32
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageFilter

from possam_core.errors import ConfigError
from possam_core.panoptic import VOID_ID
from possam_core.playground.classes import STUFF, THINGS, playground_vocabulary
from possam_core.playground.sprites import Light, Sprite, draw_light, render_thing
from possam_core.playground.textures import draw_texture

LONG_SIDE_PX = (160, 320)
NUM_THINGS = (2, 9)
DIAMETER = (0.08, 0.8)  # of the short side
MIN_STUFF_PX = 64
PLACEMENT_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A drawn image and the panoptic truth about it."""

    image: UInt8[ndarray, "H W 3"]
    ids: Int32[ndarray, "H W"]  # 0 is void; exactly 1..len(class_indices) occur
    class_indices: tuple[int, ...]  # of segment id i at i - 1, into `playground_vocabulary()`


@dataclass(slots=True, kw_only=True)
class _Canvas:
    """A scene in the making; position i of the lists belongs to thing id i + 1."""

    rgb: Float32[ndarray, "3 H W"]
    thing_ids: Int32[ndarray, "H W"]
    thing_classes: list[int]
    needed_px: list[int]  # how much of each must stay visible


def generate_scene(seed: int, index: int, *, class_names: frozenset[str] | None = None) -> Scene:
    """Scene `index` of the endless series `seed`; the same arguments give the same bytes.

    Args:
        class_names: the only classes that may appear; None allows all 48.

    Raises:
        ConfigError: a seed or index is negative, a name is unknown, or no thing or stuff is left.
    """
    if seed < 0 or index < 0:
        raise ConfigError(
            f"seed and index must not be negative, got {seed} and {index}; use 0 or more"
        )
    things, stuff = _allowed_classes(class_names)
    rng = np.random.default_rng((seed, index))
    height, width = _draw_image_hw(rng)
    pixels, stuff_map = _draw_background(rng, (height, width), stuff)
    rgb = np.moveaxis(pixels.view(np.uint8).reshape(height, width, 4)[..., :3], -1, 0)
    canvas = _Canvas(
        rgb=rgb.astype(np.float32, order="C"),
        thing_ids=np.zeros((height, width), np.int32),
        thing_classes=[],
        needed_px=[],
    )
    _place_things(canvas, things, rng)
    ids, class_indices = _label(canvas, stuff_map)
    return Scene(image=_photograph(canvas.rgb, rng), ids=ids, class_indices=class_indices)


def _allowed_classes(class_names: frozenset[str] | None) -> tuple[list[int], list[int]]:
    classes = playground_vocabulary().classes
    names = frozenset(c.name for c in classes) if class_names is None else class_names
    if unknown := sorted(names - {c.name for c in classes}):
        raise ConfigError(
            f"class_names must be names of the playground's classes, got {unknown}; see"
            " playground_vocabulary()"
        )
    things = [i for i, c in enumerate(classes) if c.name in names and c.is_thing]
    stuff = [i for i, c in enumerate(classes) if c.name in names and not c.is_thing]
    if not things or not stuff:
        raise ConfigError(
            "class_names must hold at least one thing and one stuff class, got"
            f" {len(things)} and {len(stuff)}; add one"
        )
    return things, stuff


def _draw_image_hw(rng: Generator) -> tuple[int, int]:
    long_side = int(rng.integers(LONG_SIDE_PX[0], LONG_SIDE_PX[1] + 1))
    aspect = 2.0 ** rng.uniform(-1.0, 1.0)
    short_side = round(long_side / max(aspect, 1 / aspect))
    return (short_side, long_side) if aspect > 1 else (long_side, short_side)


def _draw_stuff(
    class_index: int, image_hw: tuple[int, int], rng: Generator
) -> UInt32[ndarray, "H W"]:
    design = STUFF[class_index - len(THINGS)]
    return draw_texture(design.tone, design.ramps, image_hw, rng)


def _draw_background(
    rng: Generator, image_hw: tuple[int, int], stuff: list[int]
) -> tuple[UInt32[ndarray, "H W"], Int32[ndarray, "H W"]]:
    """Packed pixels, and the class index at each: 1 to 4 regions with wavy borders."""
    height, width = image_hw
    x = (np.arange(width, dtype=np.float32) / width - 0.5)[None, :]
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None]
    count = min(int(rng.integers(1, 5)), len(stuff))
    chosen = rng.choice(stuff, count, replace=False)
    pixels = _draw_stuff(int(chosen[0]), image_hw, rng)
    stuff_map = np.full(image_hw, chosen[0], np.int32)
    for class_index in chosen[1:]:
        cos, sin = (np.float32(f(rng.uniform(0, 2 * np.pi))) for f in (np.cos, np.sin))
        wave, phase = np.float32(rng.uniform(4.0, 12.0)), np.float32(rng.uniform(0, 2 * np.pi))
        sway = np.float32(rng.uniform(0.02, 0.07)) * np.sin(wave * (x * sin - y * cos) + phase)
        beyond = x * cos + y * sin + sway > np.float32(rng.uniform(-0.05, 0.3))
        left = np.bincount(stuff_map[~beyond], minlength=1)
        least = 0.04 * height * width
        if beyond.sum() < least or left[left > 0].min(initial=height * width) < least:
            continue
        np.copyto(pixels, _draw_stuff(int(class_index), image_hw, rng), where=beyond)
        np.copyto(stuff_map, np.int32(class_index), where=beyond)
    return pixels, stuff_map


def _place_things(canvas: _Canvas, things: list[int], rng: Generator) -> None:
    """Large things first, so that small ones lie on top; one that fits nowhere is left out."""
    light = draw_light(rng)
    short_side = min(canvas.thing_ids.shape)
    low, high = np.log(DIAMETER)
    count = int(rng.integers(NUM_THINGS[0], NUM_THINGS[1] + 1))
    for diameter in np.sort(np.exp(rng.uniform(low, high, count)))[::-1]:
        _place_thing(canvas, int(rng.choice(things)), float(diameter) * short_side, light, rng)
    for diameter in rng.uniform(0.2, 0.4, 100):
        if len(canvas.thing_classes) >= NUM_THINGS[0]:
            break
        _place_thing(canvas, int(rng.choice(things)), float(diameter) * short_side, light, rng)


def _place_thing(
    canvas: _Canvas, class_index: int, diameter_px: float, light: Light, rng: Generator
) -> None:
    sprite = render_thing(THINGS[class_index], diameter_px, light, rng)
    height, width = canvas.thing_ids.shape
    mask_h, mask_w = sprite.mask.shape
    margin = 0.4 * diameter_px  # less than half a diameter, so the border may cut a little
    for _ in range(PLACEMENT_TRIES):
        centre_x = rng.uniform(min(margin, width / 2), max(width - margin, width / 2))
        centre_y = rng.uniform(min(margin, height / 2), max(height - margin, height / 2))
        top, left = int(centre_y - mask_h / 2), int(centre_x - mask_w / 2)
        there, here = _overlap((height, width), (mask_h, mask_w), top, left)
        ids, mask = canvas.thing_ids[there], sprite.mask[here]
        if mask.sum() < sprite.needed_px or _hides_too_much(canvas, ids, mask):
            continue
        _cast_shadow(canvas, sprite, (top, left), light)
        canvas.thing_classes.append(class_index)
        canvas.needed_px.append(sprite.needed_px)
        np.putmask(ids, mask, len(canvas.thing_classes))
        pixels = canvas.rgb[:, *there]
        pixels *= 1.0 - sprite.coverage[here]
        pixels += sprite.rgb[:, *here]
        return


def _overlap(
    image_hw: tuple[int, int], patch_hw: tuple[int, int], top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a patch at (top, left) lies in the image, and which part of the patch that is."""
    rows = slice(max(top, 0), max(min(top + patch_hw[0], image_hw[0]), 0))
    columns = slice(max(left, 0), max(min(left + patch_hw[1], image_hw[1]), 0))
    patch_rows = slice(rows.start - top, rows.stop - top)
    return (rows, columns), (patch_rows, slice(columns.start - left, columns.stop - left))


def _hides_too_much(
    canvas: _Canvas, ids: Int32[ndarray, "h w"], mask: Bool[ndarray, "h w"]
) -> bool:
    """Would `mask` leave less than is needed of a thing placed before?"""
    hidden = np.bincount(ids[mask], minlength=1)
    for thing_id in np.flatnonzero(hidden[1:]) + 1:
        visible = np.count_nonzero(canvas.thing_ids == thing_id)
        if visible - hidden[thing_id] < canvas.needed_px[thing_id - 1]:
            return True
    return False


def _cast_shadow(canvas: _Canvas, sprite: Sprite, top_left: tuple[int, int], light: Light) -> None:
    if light.shadow == 0.0:
        return
    size = max(sprite.mask.shape)
    blur, offset = max(1, round(size * 0.03)), size * 0.06
    padded = np.pad((sprite.coverage * 255.0).astype(np.uint8), 2 * blur)
    soft = np.asarray(Image.fromarray(padded).filter(ImageFilter.BoxBlur(blur)), np.float32)
    top = top_left[0] - 2 * blur - round(light.y * offset)
    left = top_left[1] - 2 * blur - round(light.x * offset)
    height, width = canvas.thing_ids.shape
    there, here = _overlap((height, width), (soft.shape[0], soft.shape[1]), top, left)
    canvas.rgb[:, *there] *= 1.0 - soft[here] * np.float32(light.shadow / 255.0)


def _label(
    canvas: _Canvas, stuff_map: Int32[ndarray, "H W"]
) -> tuple[Int32[ndarray, "H W"], tuple[int, ...]]:
    """Things keep their ids; stuff is numbered after them; too small a rest of stuff is void."""
    ids = canvas.thing_ids.copy()
    class_indices = list(canvas.thing_classes)
    is_free = ids == VOID_ID
    for class_index in np.flatnonzero(np.bincount(stuff_map.ravel())):
        covered = is_free & (stuff_map == class_index)
        if np.count_nonzero(covered) >= MIN_STUFF_PX:
            class_indices.append(int(class_index))
            np.putmask(ids, covered, len(class_indices))
    return ids, tuple(class_indices)


def _photograph(rgb: Float32[ndarray, "3 H W"], rng: Generator) -> UInt8[ndarray, "H W 3"]:
    """Scene-wide light, blur, sensor noise and, half of the time, JPEG."""
    _, height, width = rgb.shape
    gain = rng.uniform(0.75, 1.15) * rng.uniform(0.94, 1.06, (3, 1, 1))
    slope_x, slope_y = rng.uniform(-0.15, 0.15, 2).astype(np.float32)
    fall = slope_x * np.linspace(-1, 1, width, dtype=np.float32)[None, :] + 1
    fall = fall + slope_y * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    lit = rgb * gain.astype(np.float32) * fall
    lit += rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(0.0, 6.0))
    interleaved = np.ascontiguousarray(np.moveaxis(np.clip(lit, 0, 255).astype(np.uint8), 0, -1))
    photo = Image.fromarray(interleaved)
    if rng.random() < 0.5:
        photo = photo.filter(ImageFilter.BoxBlur(float(rng.uniform(0.2, 0.7))))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
        photo = Image.open(buffer)
    return np.array(photo)
