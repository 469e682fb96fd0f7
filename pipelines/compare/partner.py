"""The images of another run, found by their ids."""

from collections.abc import Sequence
from functools import lru_cache

from pipelines.reader import LabelledRun
from pipelines.run.folder import RunFolder
from pipelines.run.parts import read_shard
from pipelines.schema import Row, to_rows

SHARDS_KEPT = 4  # in memory; runs of one corpus mostly have the same order


class Partner:
    """Reads rows of a run by image id, in the order of another run with different shards."""

    def __init__(self, run: LabelledRun) -> None:
        """Index the shard and position of each image."""
        folder = RunFolder(run.location)
        self._places = {
            image.image_id: (shard, position)
            for shard in run.shards()
            for position, image in enumerate(read_shard(folder, shard))
        }
        self._read = lru_cache(maxsize=SHARDS_KEPT)(run.read_shard)

    def __len__(self) -> int:
        return len(self._places)

    def rows(self, image_ids: Sequence[str]) -> dict[str, Row]:
        """The rows of those images that are in the run."""
        by_shard: dict[int, list[int]] = {}
        for image_id in image_ids:
            if image_id in self._places:
                shard, position = self._places[image_id]
                by_shard.setdefault(shard, []).append(position)
        found = [
            row
            for shard, positions in by_shard.items()
            for row in to_rows(self._read(shard).take(positions))
        ]
        return {row["image_id"]: row for row in found}
