"""Draw the picture of both worlds, side by side. `python docs/make_worlds_picture.py`."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from possam_core.playground import PLAYGROUND, WORKSHOP, World, generate_scene
from possam_core.playground.sprites import draw_light, render_thing

SEED = 2_000_004  # held out from training
SCENES = {"playground": (0, 24, 36, 42), "workshop": (28, 38, 44, 42)}  # full and plain ones
PAIRS = (
    ("apple", "apple"), ("car", "automobile"), ("house", "cottage"), ("umbrella", "parasol"),
    ("key", "key"),
)  # fmt: skip
TILE_W, TILE_H = 208, 156
THING_PX, ROW_H = 58, 96
GAP_PX, TITLE_H = 6, 22
NUM_COLOURS = 160  # of the whole picture; keeps the file small
OUTPUT = Path(__file__).parent / "images" / "worlds.png"


def main() -> None:
    """Scenes of each world above some classes that both have, each under its name there."""
    half_w = 2 * TILE_W + GAP_PX
    height = TITLE_H + 2 * (TILE_H + GAP_PX) + ROW_H
    picture = Image.new("RGB", (2 * half_w + 3 * GAP_PX, height), "white")
    for column, world in enumerate((PLAYGROUND, WORKSHOP)):
        left = column * (half_w + 3 * GAP_PX)
        words = f"{world.name}: {len(world.things)} kinds of things, {len(world.stuff)} of stuff"
        _write(picture, (left + 2, 3), words, 13)
        for number, index in enumerate(SCENES[world.name]):
            x = left + (number % 2) * (TILE_W + GAP_PX)
            y = TITLE_H + (number // 2) * (TILE_H + GAP_PX)
            picture.paste(_scene(world, index), (x, y))
        for number, pair in enumerate(PAIRS):
            x = left + number * half_w // len(PAIRS)
            _draw_thing(picture, (x + 10, height - ROW_H + 4), world, pair[column])
    picture.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(OUTPUT, optimize=True)


def _scene(world: World, index: int) -> Image.Image:
    """The middle of a scene, as large as a tile."""
    scene = Image.fromarray(generate_scene(SEED, index, world=world).image)
    scale = max(TILE_W / scene.width, TILE_H / scene.height)
    size = (round(scene.width * scale), round(scene.height * scale))
    left, top = (size[0] - TILE_W) // 2, (size[1] - TILE_H) // 2
    large = scene.resize(size, Image.Resampling.LANCZOS)
    return large.crop((left, top, left + TILE_W, top + TILE_H))


def _draw_thing(
    picture: Image.Image, left_top: tuple[int, int], world: World, class_name: str
) -> None:
    """One thing upright on white, with its name below."""
    design = next(d for d in world.things if d.name == class_name)
    rng = np.random.default_rng(SEED)
    light = draw_light(world.style.drawing, rng)
    sprite = render_thing(design, THING_PX, light, world.style.drawing, rng)
    rgb = sprite.rgb + 255.0 * (1.0 - sprite.coverage)
    pixels = np.moveaxis(np.clip(rgb, 0, 255).astype(np.uint8), 0, -1)
    picture.paste(Image.fromarray(np.ascontiguousarray(pixels)), left_top)
    _write(picture, (left_top[0], left_top[1] + ROW_H - 20), class_name, 12)


def _write(picture: Image.Image, left_top: tuple[int, int], words: str, size: int) -> None:
    ImageDraw.Draw(picture).text(left_top, words, "black", ImageFont.load_default(size))


if __name__ == "__main__":
    main()
