"""The design of a class of a world: its names, its drawing or texture, and its colours."""

from dataclasses import dataclass

from possam_core.playground.shapes import Layer
from possam_core.playground.textures import Ramp, Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingClass:
    """A thing: a drawing and its hue families."""

    name: str
    synonyms: tuple[str, ...]
    layers: tuple[Layer, ...]
    body_hues: tuple[str, ...]
    accent_hues: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StuffClass:
    """Stuff: a texture and its colour ramps."""

    name: str
    synonyms: tuple[str, ...]
    tone: Tone
    ramps: tuple[Ramp, ...]


def thing(names: str, hues: str, *layers: Layer) -> ThingClass:
    """A thing from `names`, the name and then its synonyms, and `hues`, "body / accent"."""
    name, *synonyms = names.split(", ")
    body, accent = hues.split(" / ")
    return ThingClass(
        name=name,
        synonyms=tuple(synonyms),
        layers=layers,
        body_hues=tuple(body.split()),
        accent_hues=tuple(accent.split()),
    )


def stuff(names: str, tone: Tone, *ramps: Ramp) -> StuffClass:
    """Stuff from `names`, the name and then its synonyms."""
    name, *synonyms = names.split(", ")
    return StuffClass(name=name, synonyms=tuple(synonyms), tone=tone, ramps=ramps)


def even(*colours: str) -> Ramp:
    """A ramp through hex colours at equal steps."""
    rgbs = [tuple(bytes.fromhex(c)) for c in colours]
    return tuple((i / (len(rgbs) - 1), (r, g, b)) for i, (r, g, b) in enumerate(rgbs))
