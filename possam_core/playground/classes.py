"""The playground's 48 classes: how each looks, what it is called, which are held out.

Longer than most modules because it is one table; it reads best in one piece.
"""

from dataclasses import dataclass
from functools import cache

from possam_core.playground import textures
from possam_core.playground.shapes import (
    Ink,
    Layer,
    add,
    both,
    box,
    checks,
    chevrons,
    cog,
    convex,
    cut,
    disc,
    discs,
    ellipse,
    heart,
    minus,
    paint,
    petals,
    ring,
    rings,
    rounded_box,
    sectors,
    spokes,
    star,
    stripes,
    union,
    wavy_line,
)
from possam_core.playground.textures import Ramp, Tone
from possam_core.vocabulary import Vocabulary, VocabularyClass

BODY, ACCENT, DEEP, TINT, WHITE, DARK = (
    Ink.BODY, Ink.ACCENT, Ink.DEEP, Ink.TINT, Ink.WHITE, Ink.DARK,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingClass:
    """A thing: a drawing and the hue families it may wear."""

    name: str
    synonyms: tuple[str, ...]
    layers: tuple[Layer, ...]
    body_hues: tuple[str, ...]
    accent_hues: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StuffClass:
    """Stuff: a texture and the colour ramps it may wear."""

    name: str
    synonyms: tuple[str, ...]
    tone: Tone
    ramps: tuple[Ramp, ...]


def _thing(names: str, hues: str, *layers: Layer) -> ThingClass:
    """`names`: the name, then its synonyms; `hues`: the body's, then after a slash the accent's."""
    name, *synonyms = names.split(", ")
    body, _, accent = hues.partition(" / ")
    return ThingClass(
        name=name,
        synonyms=tuple(synonyms),
        layers=layers,
        body_hues=tuple(body.split()),
        accent_hues=tuple((accent or "yellow").split()),
    )


def _stuff(names: str, tone: Tone, *ramps: Ramp) -> StuffClass:
    name, *synonyms = names.split(", ")
    return StuffClass(name=name, synonyms=tuple(synonyms), tone=tone, ramps=ramps)


def _even(*colours: str) -> Ramp:
    """A ramp through hex colours at equal steps."""
    rgbs = [tuple(bytes.fromhex(c)) for c in colours]
    return tuple((i / (len(rgbs) - 1), (r, g, b)) for i, (r, g, b) in enumerate(rgbs))


_SLICE = both(disc(0, -0.5, 1), box(-1, -0.5, 1, 1))
_WEDGE = both(disc(0, -0.95, 1.85), convex((0, -0.95), (1.1, 1.1), (-1.1, 1.1)))
_DOME = both(disc(0, 0.1, 0.98), box(-1, -1, 1, 0.1))

# fmt: off
THINGS: tuple[ThingClass, ...] = (
    _thing("apple, red apple, green apple", "red green yellow / green",
        add(BODY, union(disc(-0.32, 0.24, 0.64), disc(0.32, 0.24, 0.64))),
        add(DARK, box(-0.08, -0.9, 0.08, -0.2)),
        add(ACCENT, ellipse(0.4, -0.68, 0.36, 0.19, -25)),
        paint(WHITE, ellipse(-0.5, 0.05, 0.12, 0.22, 25))),
    _thing("orange slice, citrus wedge, lemon slice", "orange yellow green",
        add(BODY, _SLICE), paint(WHITE, disc(0, -0.5, 0.84)),
        paint(BODY, minus(disc(0, -0.5, 0.75), spokes(0, -0.5, 5, 0.035)))),
    _thing("beach ball, inflatable ball", "red blue green / yellow orange",
        add(BODY, disc(0, 0, 0.96)), paint(WHITE, sectors(2, 0.33, 0.67)),
        paint(ACCENT, sectors(2, 0.67, 1)), paint(WHITE, disc(0, 0, 0.17))),
    _thing("star, five-pointed star", "yellow orange purple",
        add(BODY, star(5, 0.45, 1)), paint(TINT, star(5, 0.22, 0.5))),
    _thing("heart, love heart, valentine", "red pink purple",
        add(BODY, heart()), paint(WHITE, ellipse(-0.5, -0.45, 0.13, 0.22, 35))),
    _thing("mushroom, toadstool", "red brown orange",
        add(WHITE, rounded_box(0, 0.4, 0.32, 0.55, 0.15)),
        add(BODY, both(ellipse(0, 0.12, 0.98, 1.02), box(-1, -1, 1, 0.15))),
        paint(WHITE, discs(0.19, (-0.5, -0.2), (0.05, -0.58), (0.52, -0.22))),
        paint(WHITE, disc(0.02, -0.1, 0.13))),
    _thing("fish, goldfish", "orange blue yellow",
        add(DEEP, minus(convex((0.38, 0), (0.98, -0.6), (0.98, 0.6)), disc(1.15, 0, 0.3))),
        add(DEEP, convex((-0.3, -0.4), (0.25, -0.75), (0.3, -0.3))),
        add(BODY, ellipse(-0.2, 0, 0.78, 0.5)),
        paint(WHITE, both(stripes(0.42, 0.4, 0), box(-0.4, -0.5, 0.5, 0.5))),
        paint(DARK, disc(-0.65, -0.1, 0.11))),
    _thing("house, cottage, home", "grey yellow pink / red brown blue",
        add(BODY, box(-0.75, -0.15, 0.75, 0.95)),
        add(ACCENT, convex((-0.98, -0.1), (0, -0.95), (0.98, -0.1))),
        paint(DARK, union(box(-0.2, 0.4, 0.2, 0.95), box(-0.58, 0.05, -0.32, 0.32))),
        paint(DARK, box(0.32, 0.05, 0.58, 0.32))),
    _thing("car, automobile, sedan", "red blue green",
        add(BODY, rounded_box(0, 0.2, 0.98, 0.3, 0.15)),
        add(BODY, convex((-0.7, 0), (-0.4, -0.6), (0.4, -0.6), (0.7, 0))),
        paint(WHITE, convex((-0.5, -0.05), (-0.32, -0.46), (-0.06, -0.46), (-0.06, -0.05))),
        paint(WHITE, convex((0.06, -0.05), (0.06, -0.46), (0.32, -0.46), (0.5, -0.05))),
        add(DARK, discs(0.27, (-0.52, 0.48), (0.52, 0.48))),
        paint(WHITE, discs(0.11, (-0.52, 0.48), (0.52, 0.48)))),
    _thing("kite, flying kite", "purple pink green / yellow orange",
        add(DARK, wavy_line(0.4, 1, 0.05, 0.12)),
        add(ACCENT, union(ellipse(-0.14, 0.78, 0.2, 0.1, 25), ellipse(0.14, 0.78, 0.2, 0.1, -25))),
        add(BODY, convex((0, -1), (0.68, -0.3), (0, 0.55), (-0.68, -0.3))),
        paint(ACCENT, union(box(0, -1, 1, -0.3), box(-1, -0.3, 0, 0.55)))),
    _thing("balloon, party balloon", "red blue pink",
        add(DARK, wavy_line(0.4, 1, 0.045, 0.1)),
        add(DEEP, convex((0, 0.3), (0.16, 0.55), (-0.16, 0.55))),
        add(BODY, ellipse(0, -0.3, 0.62, 0.7)),
        paint(WHITE, ellipse(-0.25, -0.55, 0.12, 0.2, 20))),
    _thing("umbrella, parasol", "purple blue red",
        add(BODY, _DOME),
        paint(WHITE, minus(ellipse(0, 0.1, 0.66, 0.98), ellipse(0, 0.1, 0.28, 0.98))),
        cut(discs(0.26, (-0.7, 0.2), (-0.24, 0.2), (0.24, 0.2), (0.7, 0.2))),
        add(DARK, box(-0.06, 0, 0.06, 0.76)),
        add(DARK, both(ring(0.14, 0.75, 0.21, 0.08), box(-1, 0.74, 1, 1)))),
    _thing("traffic cone, safety cone", "orange red yellow",
        add(BODY, convex((-0.14, -0.95), (0.14, -0.95), (0.58, 0.75), (-0.58, 0.75))),
        paint(WHITE, union(box(-1, -0.5, 1, -0.18), box(-1, 0.12, 1, 0.44))),
        add(DEEP, box(-0.85, 0.7, 0.85, 0.95))),
    _thing("lightning bolt, thunderbolt", "yellow blue orange",
        add(BODY, convex((0, -1), (0.6, -1), (0.25, 0.14), (-0.55, 0.14))),
        add(BODY, convex((-0.1, -0.2), (0.62, -0.2), (-0.38, 1)))),
    _thing("donut, doughnut", "pink brown yellow",
        add(DEEP, disc(0, 0, 0.97)), paint(BODY, petals(9, 0.78, 0.88)),
        paint(WHITE, discs(0.09, (-0.2, -0.62), (0.45, -0.45), (0.65, 0.15), (0.25, 0.6),
                           (-0.35, 0.52), (-0.64, -0.1))),
        cut(disc(0, 0, 0.36))),
    _thing("leaf, foliage leaf", "green orange brown",
        add(DEEP, box(-0.06, 0.7, 0.06, 1)),
        add(BODY, both(disc(-0.52, -0.06, 1.08), disc(0.52, -0.06, 1.08))),
        paint(TINT, union(chevrons(0.42, 0.24), box(-0.05, -1, 0.05, 1)))),
    _thing("flower, blossom, daisy", "pink purple grey / yellow orange",
        add(BODY, petals(6, 0.45, 0.98)), paint(ACCENT, disc(0, 0, 0.33))),
    _thing("ladybug, ladybird, beetle", "red orange yellow",
        add(DARK, disc(0, -0.55, 0.42)), add(BODY, ellipse(0, 0.15, 0.8, 0.82)),
        paint(DARK, box(-0.06, -0.7, 0.06, 1)),
        paint(DARK, discs(0.2, (-0.42, -0.12), (0.42, -0.12), (-0.36, 0.48), (0.36, 0.48)))),
    _thing("butterfly, moth", "blue orange purple / yellow pink",
        add(BODY, ellipse(-0.55, -0.35, 0.46, 0.56, -30)),
        add(BODY, ellipse(0.55, -0.35, 0.46, 0.56, 30)),
        add(BODY, ellipse(-0.42, 0.48, 0.36, 0.46, 25)),
        add(BODY, ellipse(0.42, 0.48, 0.36, 0.46, -25)),
        paint(WHITE, discs(0.22, (-0.6, -0.42), (0.6, -0.42))),
        paint(ACCENT, discs(0.17, (-0.44, 0.5), (0.44, 0.5))),
        add(DARK, ellipse(0, 0, 0.11, 0.8))),
    _thing("moon, crescent, half moon", "yellow grey blue",
        add(BODY, minus(disc(0, 0, 0.97), disc(0.5, -0.1, 0.78))),
        paint(DEEP, discs(0.11, (-0.62, -0.2), (-0.5, 0.45)))),
    _thing("key, door key", "yellow grey brown",
        add(BODY, ring(0, -0.5, 0.47, 0.22)), add(BODY, box(-0.13, -0.1, 0.13, 0.97)),
        add(BODY, union(box(0.1, 0.38, 0.48, 0.58), box(0.1, 0.75, 0.48, 0.97)))),
    _thing("arrow sign, direction sign, pointer", "green blue red",
        add(BODY, convex((0.1, -0.85), (0.98, 0), (0.1, 0.85))),
        add(BODY, box(-0.95, -0.38, 0.15, 0.38)),
        paint(WHITE, box(-0.76, -0.15, 0.3, 0.15)),
        paint(WHITE, convex((0.28, -0.4), (0.7, 0), (0.28, 0.4)))),
    _thing("gift box, present, wrapped gift", "pink green purple / yellow red",
        add(BODY, box(-0.78, -0.4, 0.78, 0.95)), add(DEEP, box(-0.92, -0.5, 0.92, -0.14)),
        paint(ACCENT, box(-0.17, -0.5, 0.17, 0.95)),
        add(ACCENT, union(ellipse(-0.36, -0.7, 0.4, 0.2, 25), ellipse(0.36, -0.7, 0.4, 0.2, -25)))),
    _thing("chessboard, checkerboard", "brown green red",
        add(DEEP, box(-0.92, -0.92, 0.92, 0.92)), paint(WHITE, box(-0.8, -0.8, 0.8, 0.8)),
        paint(BODY, both(checks(0.4), box(-0.8, -0.8, 0.8, 0.8)))),
    _thing("dice, die, gaming cube", "grey red blue",
        add(BODY, rounded_box(0, 0, 0.86, 0.86, 0.28)),
        paint(DARK, discs(0.2, (-0.45, -0.45), (0.45, -0.45), (-0.45, 0.45), (0.45, 0.45))),
        paint(DARK, disc(0, 0, 0.2))),
    _thing("target, bullseye, dartboard", "red blue green",
        add(BODY, disc(0, 0, 0.97)), paint(WHITE, minus(rings(0.4, 0.5), disc(0, 0, 0.2)))),
    _thing("watermelon, melon slice", "red pink yellow / green",
        add(ACCENT, _WEDGE), paint(WHITE, disc(0, -0.95, 1.56)), paint(BODY, disc(0, -0.95, 1.46)),
        paint(DARK, discs(0.1, (0, -0.25), (-0.22, 0.12), (0.24, 0.08), (-0.42, 0.4), (0.02, 0.38),
                          (0.46, 0.38)))),
    _thing("carrot, root vegetable", "orange yellow purple / green",
        add(ACCENT, union(ellipse(0, -0.7, 0.15, 0.3), ellipse(-0.3, -0.62, 0.14, 0.36, -35))),
        add(ACCENT, ellipse(0.3, -0.62, 0.14, 0.36, 35)),
        add(BODY, union(convex((-0.46, -0.25), (0.46, -0.25), (0.06, 1), (-0.06, 1)),
                        ellipse(0, -0.25, 0.46, 0.2))),
        paint(DEEP, both(stripes(0.3, 0.3, 90), box(-0.1, -0.2, 0.5, 1)))),
    _thing("pine tree, fir, conifer", "green blue grey / brown",
        add(ACCENT, box(-0.17, 0.5, 0.17, 0.98)),
        add(DEEP, convex((0, -0.5), (0.85, 0.66), (-0.85, 0.66))),
        add(BODY, convex((0, -0.75), (0.65, 0.15), (-0.65, 0.15))),
        add(TINT, convex((0, -1), (0.45, -0.35), (-0.45, -0.35)))),
    _thing("candle, taper candle", "grey red purple / orange yellow",
        add(BODY, box(-0.33, -0.3, 0.33, 0.98)), paint(DEEP, stripes(0.42, 0.4, 60)),
        add(DARK, box(-0.05, -0.5, 0.05, -0.3)),
        add(ACCENT, ellipse(0, -0.62, 0.24, 0.23)),
        add(ACCENT, convex((-0.2, -0.7), (0, -1), (0.2, -0.7)))),
    _thing("boat, sailboat, sailing ship", "brown red blue / grey yellow",
        add(DARK, box(-0.06, -0.97, 0.06, 0.4)),
        add(ACCENT, convex((0.06, -0.92), (0.85, 0.25), (0.06, 0.25))),
        add(WHITE, convex((-0.06, -0.65), (-0.06, 0.25), (-0.62, 0.25))),
        add(BODY, convex((-0.97, 0.36), (0.97, 0.36), (0.6, 0.92), (-0.6, 0.92)))),
    _thing("bottle, flask", "green brown blue / red yellow",
        add(BODY, rounded_box(0, 0.3, 0.42, 0.68, 0.3)), add(BODY, box(-0.17, -0.75, 0.17, 0)),
        add(ACCENT, box(-0.22, -0.98, 0.22, -0.7)), paint(WHITE, box(-1, 0.08, 1, 0.62))),
    _thing("cup, mug, teacup", "grey blue green / red orange",
        add(BODY, ring(0.5, 0, 0.46, 0.26)),
        add(BODY, convex((-0.85, -0.7), (0.5, -0.7), (0.36, 0.85), (-0.71, 0.85))),
        paint(ACCENT, box(-1, -0.1, 0.45, 0.35)), add(DARK, ellipse(-0.175, -0.7, 0.67, 0.17))),
    _thing("cross, plus sign", "grey red green",
        add(DEEP, union(box(-0.36, -0.95, 0.36, 0.95), box(-0.95, -0.36, 0.95, 0.36))),
        paint(BODY, union(box(-0.24, -0.83, 0.24, 0.83), box(-0.83, -0.24, 0.83, 0.24)))),
    _thing("gear, cogwheel", "grey yellow brown",
        add(BODY, cog(8, 0.72, 0.97)), paint(DEEP, disc(0, 0, 0.5)), cut(disc(0, 0, 0.3))),
    _thing("envelope, letter", "grey pink brown / red blue",
        add(BODY, box(-0.98, -0.66, 0.98, 0.66)),
        paint(DEEP, convex((-0.98, -0.66), (0.98, -0.66), (0, 0.24))),
        paint(TINT, convex((-0.8, -0.66), (0.8, -0.66), (0, 0.06))),
        paint(ACCENT, disc(0, 0.1, 0.2))),
)
# fmt: on

STUFF: tuple[StuffClass, ...] = (
    _stuff("sky, heaven, clouds", textures.sky,
        _even("3f86d6", "8ec0ee", "f4f8fc"), _even("6a8fc0", "b5c8dc", "f6f2ee"),
        _even("d98a5c", "eec09a", "fbeee0")),
    _stuff("sea, water, ocean", textures.sea,
        _even("10406e", "2a78a8", "e6f4f4"), _even("0e5560", "2f9a98", "e8f8f0")),
    _stuff("grass, lawn, meadow", textures.grass,
        _even("1f4a18", "4c8c2c", "a0cc5a"), _even("2f4c1a", "6c8c34", "b8c060")),
    _stuff("sand, beach sand, desert", textures.sand,
        _even("b8945c", "dcbf88", "f4e2b8"), _even("a8845c", "cfa67c", "ecccaa")),
    _stuff("brick wall, brickwork", textures.brick_wall,
        _even("7a2c20", "a8442e", "c46a50", "dcd4c8"),
        _even("5c3c30", "84604c", "a88468", "d8d0c0"),
        _even("8a6a3a", "b08c50", "ccae70", "ece4d0")),
    _stuff("wooden floor, parquet, planks", textures.wooden_floor,
        _even("2c1a0e", "8c5a30", "c89458"), _even("302418", "806850", "bca488"),
        _even("3a1c0c", "a0501e", "d88a48")),
    _stuff("snow, snowfield", textures.snow,
        _even("a4b8d4", "dfe8f2", "ffffff"), _even("b4bccc", "e6e8ee", "fffdf8")),
    _stuff("gravel, pebbles", textures.gravel,
        _even("26241f", "7c7872", "d0ccc4"), _even("2a201a", "86705c", "d4c0a8")),
    _stuff("tiled floor, tiles", textures.tiled_floor,
        _even("3c4450", "c8ccd0", "f4f4f0"), _even("2c5c7c", "a8ccd8", "f0f4f4"),
        _even("8c4a34", "e0c4a0", "f4ece0")),
    _stuff("curtain, drapes", textures.curtain,
        _even("4c0c14", "a42430", "e0606a"), _even("28124a", "643a9c", "a884d8"),
        _even("0c3424", "1f7048", "62b088"), _even("10244c", "2c569c", "80a8e0")),
    _stuff("wheat field, cornfield, grain field", textures.wheat_field,
        _even("6c4a14", "c8982c", "f4d870"), _even("5c5018", "b0a03c", "ece08c")),
    _stuff("night sky, starry sky", textures.night_sky,
        _even("080c24", "26306c", "f8f8ff"), _even("120a24", "44266a", "fff4f8")),
)  # fmt: skip

UNSEEN_CLASSES = frozenset({
    "target", "gear", "dice", "kite", "watermelon", "boat", "bottle", "heart", "mushroom",
    "butterfly", "fish", "cup", "sea", "snow", "wheat field", "tiled floor",
})  # fmt: skip


@cache
def playground_vocabulary() -> Vocabulary:
    """All 48 classes, things first; category_id is the position plus one."""
    designs: tuple[ThingClass | StuffClass, ...] = (*THINGS, *STUFF)
    return Vocabulary(
        name="playground",
        classes=tuple(
            VocabularyClass(
                category_id=i, name=d.name, is_thing=isinstance(d, ThingClass), synonyms=d.synonyms
            )
            for i, d in enumerate(designs, start=1)
        ),
    )


@cache
def seen_vocabulary() -> Vocabulary:
    """The 32 classes that training may show, with the category ids of the whole vocabulary."""
    names = {c.name for c in playground_vocabulary().classes} - UNSEEN_CLASSES
    return playground_vocabulary().subset(names, name="playground-seen")
