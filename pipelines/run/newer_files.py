"""The rows of later rounds and of people, which replace those of the shards.

Only the ids of their images are held, and a few files: a retry may have millions of rows, and each
worker of an export needs those of its own shards.
"""

from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.run.committed import CORRECTION_SCHEMA, Correction, open_rows, read_rows
from pipelines.run.folder import CORRECTION_KEY, RunFolder
from pipelines.run.newest import NewerImages, age_group

FILES_KEPT = 4  # a retry has the order of the plan, so a shard's failed images lie in one or two
AUTHORSHIP = ["image_id", "author", "corrected_at", "source"]


class NewerFiles:
    """Which file has the row that counts of each image in the files `keys`."""

    def __init__(self, run: RunFolder, keys: Iterable[str]) -> None:
        """Read the ids in the files `keys`, oldest first.

        Raises:
            ConfigError: a file was removed or damaged after its commit.
        """
        self._run = run
        self._keys = list(keys)
        self._rows = lru_cache(FILES_KEPT)(partial(read_rows, run))
        ids, places, newer = [pa.array([], pa.string())], [], NewerImages()
        for _, group in groupby(reversed(list(enumerate(self._keys))), lambda e: age_group(e[1])):
            of_group = []
            for place, key in group:
                found = open_rows(run, key).read(columns=["image_id"])
                counting = newer.without(found)["image_id"].combine_chunks()
                ids.append(counting)
                places.append(np.full(len(counting), place))
                of_group += found["image_id"].chunks
            newer.add(of_group)
        self._ids = pa.concat_arrays(ids)  # of all images, each once
        self._places = np.concatenate([np.empty(0, int), *places])  # in `keys`, of its file

    def rows_of(self, image_ids: pa.ChunkedArray) -> pa.Table:
        """The rows that count of those of the images that have newer ones; of CORRECTION_SCHEMA.

        Raises:
            ConfigError: as `read_rows`.
        """
        found = [CORRECTION_SCHEMA.empty_table()]
        is_asked = pc.is_in(self._ids, value_set=image_ids).to_numpy(zero_copy_only=False)
        for place in np.unique(self._places[is_asked]).tolist():
            wanted = self._ids.filter(pa.array(is_asked & (self._places == place)))
            rows = self._rows(self._keys[place]).replace_schema_metadata(None)
            found.append(rows.filter(pc.is_in(rows["image_id"], value_set=wanted)))
        return pa.concat_tables(found, promote_options="default")

    def corrections(self) -> dict[str, Correction]:
        """Who has corrected each image whose row that counts is of people, and when."""
        found: dict[str, Correction] = {}
        for place, key in enumerate(self._keys):
            if not CORRECTION_KEY.fullmatch(key):
                continue
            rows = open_rows(self._run, key).read(columns=AUTHORSHIP)
            wanted = self._ids.filter(pa.array(self._places == place))
            newest = rows.filter(pc.is_in(rows["image_id"], value_set=wanted)).to_pylist()
            found |= {row.pop("image_id"): Correction(**row) for row in newest}
        return found
