"""Playground scenes on disk as flat arrays, generated once per seed and read by memory map.

Axes: N scenes, M segments of a scene (padded), S side of the canvas, B images of a batch,
H W pixels of an image.
"""

import json
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from possam_core.device_copies import send
from possam_core.images.batch import ImageBatch, make_batch
from possam_core.playground import find_world, generate_scene
from possam_core.processes import end_with_parent, usable_cpus

logger = logging.getLogger(__name__)

MAX_SEGMENTS = 24  # padding of the class table; scenes hold fewer
NO_CLASS = -1
CHUNK = 64  # scenes a worker renders at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSet:
    """Which scenes: a seed, how many, and what may appear in them."""

    seed: int
    num_scenes: int
    canvas: int
    class_names: tuple[str, ...] | None = None  # None is all classes
    world: str = "playground"  # or "workshop"


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image of a data set, as it is or flipped left to right."""

    name: str
    index: int  # in the data set
    is_flipped: bool


@dataclass(frozen=True, slots=True)
class SceneBatch:
    """Images with their true segments."""

    images: ImageBatch
    ids: Int64[Tensor, "B S S"]  # segment i of a scene has id i + 1; 0 is void or padding
    classes: tuple[Int64[Tensor, " _"], ...]  # class index of each segment, per image
    sources: tuple[ImageView, ...] = ()  # where each image is from, if that is known

    def masks(self, grid: int) -> list[Float[Tensor, "_ g g"]]:
        """Per image, the share of each cell of a `grid` x `grid` map that each segment covers."""
        result = []
        for ids, classes in zip(self.ids, self.classes, strict=True):
            wanted = torch.arange(1, len(classes) + 1, device=ids.device)[:, None, None]
            result.append(functional.adaptive_avg_pool2d((ids == wanted).float(), grid))
        return result

    def select(self, positions: Sequence[int]) -> "SceneBatch":
        """The images at `positions`."""
        rows, images = list(positions), self.images
        return SceneBatch(
            ImageBatch(
                images.pixels[rows],
                images.valid[rows],
                tuple(images.resized_hw[i] for i in rows),
                tuple(images.image_hw[i] for i in rows),
            ),
            self.ids[rows],
            tuple(self.classes[i] for i in rows),
            tuple(self.sources[i] for i in rows) if self.sources else (),
        )

    def to(self, device: torch.device) -> "SceneBatch":
        """The same batch on `device`."""
        classes = torch.split(send(torch.cat(self.classes), device), [len(c) for c in self.classes])
        return SceneBatch(
            self.images.to(device), send(self.ids, device), tuple(classes), self.sources
        )


def whole_image(
    pixels: UInt8[ndarray, "H W 3"],
    ids: Int32[ndarray, "H W"],
    class_indices: Sequence[int],
    *,
    canvas: int,
) -> SceneBatch:
    """A batch of one image and its true segments, resized to the canvas as users' images are."""
    images = make_batch([pixels], canvas=canvas)
    height, width = images.resized_hw[0]
    on_canvas = torch.zeros(1, canvas, canvas, dtype=torch.long)
    on_canvas[:, :height, :width] = functional.interpolate(
        torch.from_numpy(ids)[None, None].float(), (height, width), mode="nearest-exact"
    )[0]
    return SceneBatch(images, on_canvas, (torch.tensor(class_indices),))


@runtime_checkable
class Batches(Protocol):
    """The batches of a training, which depend only on the step and the positions."""

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        """The images at `positions` of the batch of step `step`."""


class SceneStore:
    """Rendered scenes of one `SceneSet`, written under `folder` on first use."""

    def __init__(self, scene_set: SceneSet, folder: Path) -> None:
        self.scene_set = scene_set
        done, content = folder / "done.json", json.dumps(asdict(scene_set))
        if not done.exists() or done.read_text() != content:  # none yet, or of another set
            done.unlink(missing_ok=True)
            _render(scene_set, folder)
            done.write_text(content)
        arrays = _open_arrays(scene_set, folder, mode="r")
        self.pixels, self.ids, self.classes, self.resized_hw = arrays

    def __len__(self) -> int:
        return self.scene_set.num_scenes

    def batch(self, rng: np.random.Generator, size: int) -> SceneBatch:
        """`size` scenes drawn at random, each flipped left to right with probability one half."""
        rows = np.sort(rng.choice(len(self), size=size, replace=False))
        pixels = torch.from_numpy(self.pixels[rows])
        ids = torch.from_numpy(self.ids[rows]).long()
        sizes = [(int(h), int(w)) for h, w in self.resized_hw[rows]]
        valid = torch.zeros_like(ids, dtype=torch.bool)
        sources = []
        for i, (height, width) in enumerate(sizes):
            valid[i, :height, :width] = True
            is_flipped = rng.random() < 0.5
            if is_flipped:
                pixels[i, :, :height, :width] = pixels[i, :, :height, :width].flip(-1)
                ids[i, :height, :width] = ids[i, :height, :width].flip(-1)
            sources.append(ImageView(f"scene {rows[i]}", int(rows[i]), is_flipped))
        classes = tuple(torch.from_numpy(c[c != NO_CLASS]).long() for c in self.classes[rows])
        images = ImageBatch(pixels, valid, tuple(sizes), tuple(sizes))
        return SceneBatch(images, ids, classes, tuple(sources))


class StoredScenes:
    """Batches drawn from a `SceneStore`, with classes as positions in another vocabulary."""

    def __init__(
        self,
        store: SceneStore,
        class_index: Int64[Tensor, " K"],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        """Draw from `store`; `class_index` maps its class indices to those of the batches."""
        self.store, self.class_index = store, class_index
        self.batch_size, self.seed = batch_size, seed

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        """The images at `positions` of the batch of step `step`."""
        batch = self.store.batch(np.random.default_rng((self.seed, step)), self.batch_size)
        classes = tuple(self.class_index[c] for c in batch.classes)
        return SceneBatch(batch.images, batch.ids, classes, batch.sources).select(positions)


class AlternatingBatches:
    """Batches of several data sets, one after another."""

    def __init__(self, batches: Sequence[Batches]) -> None:
        self.batches = tuple(batches)

    def read(self, step: int, positions: Sequence[int]) -> SceneBatch:
        """The images at `positions` of the batch of step `step`."""
        turn, whose = divmod(step, len(self.batches))
        return self.batches[whose].read(turn, positions)


def _open_arrays(
    scene_set: SceneSet, folder: Path, *, mode: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    count, side = scene_set.num_scenes, scene_set.canvas

    def array(name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        return np.memmap(folder / name, dtype=dtype, mode=mode, shape=shape)  # type: ignore[call-overload, no-any-return]

    return (
        array("pixels.u8", np.uint8, (count, 3, side, side)),
        array("ids.u8", np.uint8, (count, side, side)),
        array("classes.i16", np.int16, (count, MAX_SEGMENTS)),
        array("resized_hw.i16", np.int16, (count, 2)),
    )


def _render(scene_set: SceneSet, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _open_arrays(scene_set, folder, mode="w+")
    starts = range(0, scene_set.num_scenes, CHUNK)
    jobs = [(scene_set, folder, start) for start in starts]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(usable_cpus(), spawn, initializer=end_with_parent) as pool:
        for done, _ in enumerate(pool.map(_render_chunk, jobs), start=1):
            if done % 25 == 0 or done == len(jobs):
                logger.info("rendered %d of %d scenes", done * CHUNK, scene_set.num_scenes)


def _render_chunk(job: tuple[SceneSet, Path, int]) -> None:
    scene_set, folder, start = job
    torch.set_num_threads(1)
    pixels, ids, classes, resized_hw = _open_arrays(scene_set, folder, mode="r+")
    world = find_world(scene_set.world)
    names = None if scene_set.class_names is None else frozenset(scene_set.class_names)
    for row in range(start, min(start + CHUNK, scene_set.num_scenes)):
        scene = generate_scene(scene_set.seed, row, class_names=names, world=world)
        whole = whole_image(scene.image, scene.ids, scene.class_indices, canvas=scene_set.canvas)
        pixels[row] = whole.images.pixels[0].numpy()
        ids[row] = whole.ids[0].numpy()
        classes[row] = NO_CLASS
        classes[row, : len(scene.class_indices)] = scene.class_indices
        resized_hw[row] = whole.images.resized_hw[0]
