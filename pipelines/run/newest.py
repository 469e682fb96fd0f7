"""Which row of an image counts if several files have one: that of the newest file.

A shard's own file is the oldest; each later round has newer rows of failed images; a file of
corrections is newer than all rounds and than earlier corrections. `verify` checks this with code
of its own.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.run.folder import SHARD_KEY


class NewerImages:
    """The images in the files read so far, newest first; their older rows do not count."""

    def __init__(self) -> None:
        """No file has been read."""
        self._image_ids: pa.Array = pa.array([], pa.string())

    def without(self, rows: pa.Table) -> pa.Table:
        """The rows that count among `rows`, which are of an older file."""
        is_out = pc.is_in(rows["image_id"], value_set=self._image_ids)
        return rows.filter(pc.invert(is_out))

    def add(self, image_ids: Iterable[pa.Array]) -> None:
        """Record the images of the files read so far; the next files are older."""
        self._image_ids = pa.concat_arrays([self._image_ids, *image_ids])


def age_group(key: str) -> str:
    """A key shared by files of the same age: the folder of a round, or a correction's own key."""
    match = SHARD_KEY.fullmatch(key)
    return match[1] if match else key
