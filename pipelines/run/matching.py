"""Find the planned image of each image that another file names: annotations or ground truth.

An image is found by its id, else by the longest common path, which in a container goes on inside.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.corpus.embedded import PARQUET_ENDINGS, embedded_names
from pipelines.run.folder import RunFolder
from pipelines.run.longest_path import Path, pair_paths, path_of
from pipelines.run.parts import SHARDS_A_PART, open_part
from pipelines.run.plan import Plan
from possam_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ImageName:
    """What a file calls an image."""

    name: str  # its path or address
    image_id: str | None = None  # in the run; None: it is found by its name


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image's place in the run."""

    image_id: str
    uri: str
    shard: int
    container: str | None
    offset: int | None


def match_images(
    run: RunFolder, plan: Plan, names: Sequence[ImageName]
) -> list[PlannedImage | None]:
    """The planned image of each name; None: the run has no such image.

    Raises:
        ConfigError: a name fits several images, or several names fit one image.
    """
    found = _by_id(run, plan, names)
    for place in (_place, _EmbeddedPlaces().place):
        left = [i for i, n in enumerate(names) if n.image_id is None and i not in found]
        if not left:
            break
        taken = {image.image_id for image in found.values()}
        rest = (image for image in _planned(run, plan) if image.image_id not in taken)
        found |= _by_path(names, left, rest, place)
    return [found.get(i) for i in range(len(names))]


def _planned(run: RunFolder, plan: Plan) -> Iterator[PlannedImage]:
    columns = [*PlannedImage.__slots__]
    for part in range(-(-plan.num_shards // SHARDS_A_PART)):
        images = open_part(run, part).read(columns=columns).select(columns)
        rows = zip(*(column.to_pylist() for column in images.columns), strict=True)
        yield from (PlannedImage(*row) for row in rows)


def _by_id(run: RunFolder, plan: Plan, names: Sequence[ImageName]) -> dict[int, PlannedImage]:
    """The images with the id that is given, or else is the name of the file.

    Such a name is a file's first: where an image of another id has it, it is no id.
    """
    wanted: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        file = path_of(name.name)[-1]
        for key in {file, PurePosixPath(file).stem} if name.image_id is None else {name.image_id}:
            wanted[key].append(index)
    found: dict[int, PlannedImage] = {}
    files = {path_of(n.name)[-1] for n in names if n.image_id is None}
    bearers: dict[str, set[str]] = defaultdict(set)  # ids of the images with a file's name
    for image in _planned(run, plan):
        if (file := _place(image)[-1]) in files:
            bearers[file].add(image.image_id)
        indices = wanted.get(image.image_id, [])
        if len(indices) > 1:
            raise _ambiguous(names, indices, 1)
        found |= dict.fromkeys(indices, image)

    def is_id(index: int, image: PlannedImage) -> bool:
        of_file = bearers[path_of(names[index].name)[-1]]
        return names[index].image_id is not None or not of_file or image.image_id in of_file

    return {index: image for index, image in found.items() if is_id(index, image)}


def _by_path(
    names: Sequence[ImageName],
    left: Sequence[int],
    images: Iterable[PlannedImage],
    place: Callable[[PlannedImage], Path | None],
) -> dict[int, PlannedImage]:
    """The images that the names at `left` fit best."""
    paths = [path_of(names[i].name) for i in left]
    files = {path[-1] for path in paths}
    similar = [(path, image) for image in images if (path := place(image)) and path[-1] in files]
    found = pair_paths(paths, [path for path, _ in similar])
    if found.tie is not None:
        mine, theirs = found.tie
        raise _ambiguous(names, [left[i] for i in mine], len(theirs))
    return {left[i]: similar[j][1] for i, j in found.pairs.items()}


def _place(image: PlannedImage) -> Path:
    return path_of(image.uri)


class _EmbeddedPlaces:
    """Paths of images in Parquet files, which a file itself may record."""

    def __init__(self) -> None:
        self._names: dict[str, list[str | None]] = {}  # of the images of each file, by row

    def place(self, image: PlannedImage) -> Path | None:
        """The path of an image below that of its file; None: it has none."""
        file, row = image.container, image.offset
        if file is None or row is None or not file.lower().endswith(PARQUET_ENDINGS):
            return None
        if file not in self._names:
            self._names = {file: embedded_names(file)}
        name = self._names[file][row]
        return None if name is None else path_of(f"{file}#{name}")


def _ambiguous(names: Sequence[ImageName], indices: Sequence[int], num_images: int) -> ConfigError:
    name = names[indices[-1]].name
    if num_images > 1:
        what = f"{num_images} images of the run have that name"
    else:
        what = f"{names[indices[0]].name} is the same image of the run"
    return ConfigError(f"{name}: {what}; name each once, with its folders or by image_id")
