"""Find the planned image of each image in an annotators' file."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.formats.annotation import AnnotatedImage, refuse
from pipelines.run.folder import RunFolder
from pipelines.run.parts import SHARDS_A_PART, open_part
from pipelines.run.plan import Plan

SEPARATORS = re.compile(r"[/\\#]")  # the last precedes a member of a container


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An annotated image and its place in the run."""

    annotated: AnnotatedImage
    image_id: str
    uri: str
    shard: int


def match_images(run: RunFolder, plan: Plan, annotated: Sequence[AnnotatedImage]) -> list[Match]:
    """The planned image of each of `annotated`, by image id or else by file name.

    If several images have that name, the parent folders decide.

    Raises:
        ConfigError: an image is not in the run, is ambiguous, or is annotated twice.
    """
    by_key: dict[str, list[AnnotatedImage]] = defaultdict(list)
    for image in annotated:
        for key in _keys(image):
            by_key[key].append(image)
    found: dict[int, dict[str, Match]] = defaultdict(dict)  # by Python's id of the annotated
    for image_id, uri, shard in _planned(run, plan):
        for key in {image_id, _path(uri)[-1]}:
            for image in by_key.get(key, ()):
                match = Match(annotated=image, image_id=image_id, uri=uri, shard=shard)
                found[id(image)][image_id] = match
    matches = [_choose(image, list(found[id(image)].values())) for image in annotated]
    _refuse_twins(matches)
    return matches


def _keys(image: AnnotatedImage) -> set[str]:
    """The possible ids and file names of its planned image."""
    if image.image_id is not None:
        return {image.image_id}
    name = _path(image.name)[-1]
    return {name, name.rpartition(".")[0]}


def _path(address: str) -> list[str]:
    return [part for part in SEPARATORS.split(address) if part] or [""]


def _planned(run: RunFolder, plan: Plan) -> Iterator[tuple[str, str, int]]:
    """Id, address and shard of every planned image."""
    for part in range(-(-plan.num_shards // SHARDS_A_PART)):
        images = open_part(run, part).read(columns=["image_id", "uri", "shard"])
        yield from zip(*(column.to_pylist() for column in images.columns), strict=True)


def _choose(image: AnnotatedImage, candidates: Sequence[Match]) -> Match:
    if not candidates:
        raise refuse(image.name, "the run has no such image", "name images as the run does")
    path = _path(image.name)
    scores = [_common_end(path, _path(match.uri)) for match in candidates]
    if scores.count(max(scores)) > 1:
        raise refuse(
            image.name,
            f"{scores.count(max(scores))} images of the run have that name",
            "name them with their folders or by image_id",
        )
    return candidates[scores.index(max(scores))]


def _common_end(path: Sequence[str], other: Sequence[str]) -> int:
    """The number of equal parts at the ends of two paths."""
    pairs = zip(reversed(path), reversed(other), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(path), len(other)))


def _refuse_twins(matches: Iterable[Match]) -> None:
    names: dict[str, str] = {}
    for match in matches:
        name = match.annotated.name
        if match.image_id in names:
            raise refuse(
                name,
                f"{names[match.image_id]} is the same image of the run",
                "annotate each image once",
            )
        names[match.image_id] = name
