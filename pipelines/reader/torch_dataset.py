"""A run as `torch` datasets: by index, or as a stream that ranks and workers share.

Axes: N segments, H W pixels of the image.
"""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from pipelines.reader.image import LabelledImage, LabelledShard
from pipelines.storage.addresses import is_remote, is_s3
from possam_core.errors import ConfigError

SHARDS_HELD = 4  # in memory, by each worker: some 20 MB each at 1,024 images


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled image for training."""

    image_id: str
    uri: str
    ids: Int32[Tensor, "H W"]  # segment id of each pixel; 0 is void
    segment_ids: Int64[Tensor, " N"]
    class_indices: Int64[Tensor, " N"]  # positions in the run's categories
    is_thing: Bool[Tensor, " N"]
    pixels: UInt8[Tensor, "3 H W"] | None  # RGB; None: not requested

    def masks(self) -> Bool[Tensor, "N H W"]:
        """One mask for each segment."""
        return self.ids == self.segment_ids[:, None, None]

    def pin_memory(self) -> "Sample":
        """The same sample in pinned memory; a DataLoader with `pin_memory=True` calls it."""
        return replace(
            self,
            ids=self.ids.pin_memory(),
            segment_ids=self.segment_ids.pin_memory(),
            class_indices=self.class_indices.pin_memory(),
            is_thing=self.is_thing.pin_memory(),
            pixels=None if self.pixels is None else self.pixels.pin_memory(),
        )


class ImageShards(Protocol):
    """Labelled images in shards, such as those of `LabelledRun`; the object is sent to workers."""

    @property
    def location(self) -> str:
        """Location of the run folder."""

    @property
    def corpus(self) -> str:
        """Location of the images themselves."""

    def shards(self) -> list[int]:
        """The numbers of the shards, ascending."""

    def count_labelled(self) -> list[int]:
        """How many images each shard has."""

    def labelled_shard(self, shard: int) -> LabelledShard:
        """The images of one shard."""

    def images_in(self, shard: int) -> Iterator[LabelledImage]:
        """The same, one at a time."""


class LabelledDataset(Dataset[Sample]):
    """Images by index, in plan order; a few shards are cached, so neighbours are cheap."""

    def __init__(self, run: ImageShards, *, with_pixels: bool) -> None:
        """Count the images of `run` without reading their rows."""
        self._access = _Access(run, with_pixels=with_pixels)
        self._ends = list(accumulate(run.count_labelled()))
        self._shards: OrderedDict[int, LabelledShard] = OrderedDict()  # the last used at the end

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected an index below {len(self)}, got {index}")
        index %= len(self)
        place = bisect_right(self._ends, index)
        images = self._shard(self._access.run.shards()[place])
        return self._access.sample(images[index - self._ends[place] + len(images)])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": OrderedDict()}

    def _shard(self, shard: int) -> LabelledShard:
        self._access.require_reach()
        if shard not in self._shards:
            self._shards[shard] = self._access.run.labelled_shard(shard)
            if len(self._shards) > SHARDS_HELD:
                self._shards.popitem(last=False)
        self._shards.move_to_end(shard)
        return self._shards[shard]


class LabelledStream(IterableDataset[Sample]):
    """Images in plan order; every image goes to exactly one worker of one rank."""

    def __init__(self, run: ImageShards, *, rank: int, world_size: int, with_pixels: bool) -> None:
        """Share the shards of `run` among `world_size` processes; this one is `rank`.

        Raises:
            ConfigError: there is no such rank.
        """
        if not 0 <= rank < world_size:
            raise ConfigError(
                f"expected a rank from 0 to {world_size - 1}, got {rank}; count ranks from 0"
            )
        self._access = _Access(run, with_pixels=with_pixels)
        self._rank, self._world_size = rank, world_size

    def __iter__(self) -> Iterator[Sample]:
        self._access.require_reach()
        worker = get_worker_info()
        num_workers, number = (1, 0) if worker is None else (worker.num_workers, worker.id)
        first, step = self._rank * num_workers + number, self._world_size * num_workers
        run = self._access.run
        for shard in run.shards()[first::step]:
            yield from map(self._access.sample, run.images_in(shard))


class _Access:
    """A run and the conversion of its images, in this process or in one that it was sent to."""

    def __init__(self, run: ImageShards, *, with_pixels: bool) -> None:
        self.run = run
        self._with_pixels = with_pixels
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "_with_pixels": self._with_pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_process": os.getpid()}

    def require_reach(self) -> None:
        """Check that this process can read the run and its images.

        Raises:
            ConfigError: it was forked, and the clients of remote stores hang in a forked process.
        """
        is_far = is_s3(self.run.location) or (self._with_pixels and is_remote(self.run.corpus))
        if is_far and os.getpid() != self._process:
            raise ConfigError(
                "expected workers with clients of their own, got forked ones, where those of a"
                " remote store would hang; give the DataLoader multiprocessing_context='spawn'"
            )

    def sample(self, image: LabelledImage) -> Sample:
        segmentation = image.segmentation
        segments = segmentation.segments
        pixels = image.pixels().transpose(2, 0, 1) if self._with_pixels else None
        return Sample(
            image_id=image.image_id,
            uri=image.uri,
            ids=torch.from_numpy(segmentation.ids),
            segment_ids=torch.tensor([s.id for s in segments], dtype=torch.int64),
            class_indices=torch.tensor([s.class_index for s in segments], dtype=torch.int64),
            is_thing=torch.tensor([s.is_thing for s in segments], dtype=torch.bool),
            pixels=None if pixels is None else torch.from_numpy(np.ascontiguousarray(pixels)),
        )
