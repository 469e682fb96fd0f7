"""The worlds that scenes are drawn from: classes, which of them training may show, and a style.

The second relates to the first as ADE20K does to COCO: some classes are in both under partly
other names, the rest are in one alone, and everything looks different.
"""

from dataclasses import dataclass

from possam_core.errors import ConfigError, nearest
from possam_core.playground import playground_classes, workshop_classes
from possam_core.playground.designs import StuffClass, ThingClass
from possam_core.playground.style import PLAYGROUND_STYLE, WORKSHOP_STYLE, Style
from possam_core.vocabulary.vocabulary import Vocabulary, VocabularyClass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # one of each: identity is equality
class World:
    """The classes of scenes, and their style. Pickles as its name."""

    name: str
    things: tuple[ThingClass, ...]
    stuff: tuple[StuffClass, ...]
    style: Style
    vocabulary: Vocabulary  # things, then stuff; category_id is the position plus one
    training_vocabulary: Vocabulary  # the classes that training may show, with the same ids

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return find_world, (self.name,)  # drawings hold functions, which cannot be pickled


def _world(
    name: str,
    things: tuple[ThingClass, ...],
    stuff: tuple[StuffClass, ...],
    *,
    unseen: frozenset[str],
    style: Style,
) -> World:
    designs: tuple[ThingClass | StuffClass, ...] = (*things, *stuff)
    vocabulary = Vocabulary(
        name=name,
        classes=tuple(
            VocabularyClass(
                category_id=i, name=d.name, is_thing=isinstance(d, ThingClass), synonyms=d.synonyms
            )
            for i, d in enumerate(designs, start=1)
        ),
    )
    shown = {d.name for d in designs} - unseen
    return World(
        name=name,
        things=things,
        stuff=stuff,
        style=style,
        vocabulary=vocabulary,
        training_vocabulary=vocabulary.subset(shown, name=f"{name}-seen"),
    )


PLAYGROUND = _world(
    "playground",
    playground_classes.THINGS,
    playground_classes.STUFF,
    unseen=playground_classes.UNSEEN_CLASSES,
    style=PLAYGROUND_STYLE,
)
WORKSHOP = _world(
    "workshop",
    workshop_classes.THINGS,
    workshop_classes.STUFF,
    unseen=workshop_classes.UNSEEN_CLASSES,
    style=WORKSHOP_STYLE,
)
_WORLDS = {world.name: world for world in (PLAYGROUND, WORKSHOP)}


def find_world(name: str) -> World:
    """The world called `name`.

    Raises:
        ConfigError: there is none; the message proposes the nearest name.
    """
    if name in _WORLDS:
        return _WORLDS[name]
    hint = nearest(name, _WORLDS, otherwise="name one of them")
    raise ConfigError(f"expected a world ({', '.join(_WORLDS)}), got {name!r}; {hint}")
