"""Which row of an image counts where several files have one: that of the newest file.

A shard's own file is the oldest; each later round has newer rows of images that had failed; a file
of corrections is newer than all rounds, and than the corrections before it. `verify` recounts this
with code of its own.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.run.folder import SHARD_KEY


class NewerImages:
    """The images in the files read so far, newest first; their older rows do not count."""

    def __init__(self) -> None:
        """Before the newest file."""
        self._image_ids: pa.Array = pa.array([], pa.string())

    def without(self, rows: pa.Table) -> pa.Table:
        """Those of `rows`, of an older file, that count."""
        is_out = pc.is_in(rows["image_id"], value_set=self._image_ids)
        return rows.filter(pc.invert(is_out))

    def add(self, image_ids: Iterable[pa.Array]) -> None:
        """Go on to older files: these images had rows in the files until here."""
        self._image_ids = pa.concat_arrays([self._image_ids, *image_ids])


def age_group(key: str) -> str:
    """What files of the same age share: the folder of a round, or the key of a correction."""
    match = SHARD_KEY.fullmatch(key)
    return match[1] if match else key
