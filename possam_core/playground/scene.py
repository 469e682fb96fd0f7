"""Procedural panoptic scenes: textured regions under anti-aliased things, lit and photographed.

Axes: H W pixels of the scene, h w pixels of one patch of it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageFilter

from possam_core.errors import ConfigError
from possam_core.labels.masks import VOID_ID
from possam_core.playground.background import draw_background
from possam_core.playground.camera import photograph
from possam_core.playground.sprites import Light, Sprite, draw_light, render_thing
from possam_core.playground.style import Composition
from possam_core.playground.world import PLAYGROUND, World

MIN_STUFF_PX = 64
PLACEMENT_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A drawn image and the panoptic truth about it."""

    image: UInt8[ndarray, "H W 3"]
    ids: Int32[ndarray, "H W"]  # 0 is void; exactly 1..len(class_indices) occur
    class_indices: tuple[int, ...]  # of segment id i at i - 1, in the world's vocabulary


@dataclass(slots=True, kw_only=True)
class _Canvas:
    """A scene in the making; position i of the lists belongs to thing id i + 1."""

    rgb: Float32[ndarray, "3 H W"]
    thing_ids: Int32[ndarray, "H W"]
    thing_classes: list[int]
    needed_px: list[int]  # how much of each must stay visible


def generate_scene(
    seed: int,
    index: int,
    *,
    class_names: frozenset[str] | None = None,
    world: World = PLAYGROUND,
) -> Scene:
    """Scene `index` of the endless series `seed`; the same arguments give the same bytes.

    Args:
        class_names: the only classes of the world that may appear; None allows all.

    Raises:
        ConfigError: a seed or index is negative, a name is unknown, or no thing or stuff is left.
    """
    if seed < 0 or index < 0:
        raise ConfigError(
            f"seed and index must not be negative, got {seed} and {index}; use 0 or more"
        )
    things, stuff = _allowed_classes(class_names, world)
    style, rng = world.style, np.random.default_rng((seed, index))
    height, width = _draw_image_hw(style.composition, rng)
    designs = [world.stuff[i - len(world.things)] for i in stuff]
    background = draw_background(designs, (height, width), style.composition, rng)
    rgb = background.pixels.view(np.uint8).reshape(height, width, 4)[..., :3]
    canvas = _Canvas(
        rgb=np.moveaxis(rgb, -1, 0).astype(np.float32, order="C"),
        thing_ids=np.zeros((height, width), np.int32),
        thing_classes=[],
        needed_px=[],
    )
    _place_things(canvas, things, world, rng)
    ids, class_indices = _label(canvas, np.array(stuff, np.int32)[background.stuff_map])
    image = photograph(canvas.rgb, style.camera, rng)
    return Scene(image=image, ids=ids, class_indices=class_indices)


def _allowed_classes(
    class_names: frozenset[str] | None, world: World
) -> tuple[list[int], list[int]]:
    classes = world.vocabulary.classes
    names = frozenset(c.name for c in classes) if class_names is None else class_names
    if unknown := sorted(names - {c.name for c in classes}):
        raise ConfigError(
            f"class_names must be names of classes of the world {world.name!r}, got {unknown}; see"
            " its vocabulary"
        )
    things = [i for i, c in enumerate(classes) if c.name in names and c.is_thing]
    stuff = [i for i, c in enumerate(classes) if c.name in names and not c.is_thing]
    if not things or not stuff:
        raise ConfigError(
            "class_names must hold at least one thing and one stuff class, got"
            f" {len(things)} and {len(stuff)}; add one"
        )
    return things, stuff


def _draw_image_hw(composition: Composition, rng: Generator) -> tuple[int, int]:
    low, high = composition.long_side_px
    long_side = int(rng.integers(low, high + 1))
    aspect = 2.0 ** rng.uniform(*composition.log2_aspect)
    short_side = round(long_side / max(aspect, 1 / aspect))
    return (short_side, long_side) if aspect > 1 else (long_side, short_side)


def _place_things(canvas: _Canvas, things: list[int], world: World, rng: Generator) -> None:
    """Large things first, so that small ones lie on top; one that fits nowhere is left out."""
    composition, drawing = world.style.composition, world.style.drawing
    light = draw_light(drawing, rng)
    short_side = min(canvas.thing_ids.shape)
    least, most = composition.num_things
    count = int(rng.integers(least, most + 1))

    def place(diameter: float) -> None:
        class_index = int(rng.choice(things))
        design = world.things[class_index]
        sprite = render_thing(design, diameter * short_side, light, drawing, rng)
        _place(canvas, sprite, class_index, light, rng)

    low, high = np.log(composition.diameter)
    for diameter in np.sort(np.exp(rng.uniform(low, high, count)))[::-1]:
        place(float(diameter))
    for diameter in rng.uniform(0.2, 0.4, 100):
        if len(canvas.thing_classes) >= least:
            break
        place(float(diameter))


def _place(canvas: _Canvas, sprite: Sprite, class_index: int, light: Light, rng: Generator) -> None:
    """Put `sprite` where it and the things below it stay visible enough, if a few tries succeed."""
    height, width = canvas.thing_ids.shape
    mask_h, mask_w = sprite.mask.shape
    margin = 0.4 * sprite.diameter_px  # less than half a diameter, so the border may cut a little
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
    """Whether `mask` would leave too little of a thing placed before."""
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
    blur, offset = max(1, round(size * light.shadow_blur)), size * light.shadow_offset
    mask_h, mask_w = sprite.mask.shape
    padded = np.zeros((mask_h + 4 * blur, mask_w + 4 * blur), np.uint8)
    padded[2 * blur : -2 * blur, 2 * blur : -2 * blur] = sprite.coverage * 255.0
    soft = np.asarray(Image.fromarray(padded).filter(ImageFilter.BoxBlur(blur)), np.float32)
    top = top_left[0] - 2 * blur - round(light.y * offset)
    left = top_left[1] - 2 * blur - round(light.x * offset)
    height, width = canvas.thing_ids.shape
    there, here = _overlap((height, width), (soft.shape[0], soft.shape[1]), top, left)
    canvas.rgb[:, *there] *= 1.0 - soft[here] * np.float32(light.shadow / 255.0)


def _label(
    canvas: _Canvas, stuff_map: Int32[ndarray, "H W"]
) -> tuple[Int32[ndarray, "H W"], tuple[int, ...]]:
    """Things keep their ids; stuff is numbered after them; remnants of stuff too small are void."""
    ids = canvas.thing_ids.copy()
    class_indices = list(canvas.thing_classes)
    is_free = ids == VOID_ID
    for class_index in np.flatnonzero(np.bincount(stuff_map.ravel())):
        covered = is_free & (stuff_map == class_index)
        if np.count_nonzero(covered) >= MIN_STUFF_PX:
            class_indices.append(int(class_index))
            np.putmask(ids, covered, len(class_indices))
    return ids, tuple(class_indices)
