"""Images to be planned: identified, and kept on disk until the repeated ones are known."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, UInt8
from numpy import ndarray

from pipelines.planning.duplicates import DIGEST_BYTES, DuplicateFinder, joined_digests
from pipelines.schema import PLAN_SCHEMA
from possam_core.errors import ConfigError

SAME_ADDRESS, SAME_CONTENT = "same address", "same content"  # why an image is not planned

# The plan's columns, without an image's place in it.
CANDIDATE_SCHEMA = pa.schema([f for f in PLAN_SCHEMA if f.name not in ("shard", "position")])
HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
SAMPLE_SCALE = 2**32


class Candidates:
    """Collects the batches of a source; memory does not grow with their number."""

    def __init__(self, folder: Path, *, sample: float | None, since: datetime | None) -> None:
        """Keep them in `folder`.

        Args:
            folder: empty, on a local disk with some 100 bytes for each image.
            sample: share of images to keep, chosen by their ids: the same ones every time.
            since: keep only images that were modified at this time or later.
        """
        self._sample = sample
        self._since = since
        self._stack = ExitStack()
        self._finders: dict[str, DuplicateFinder] = {}
        for name in ("address", "content", "given_id"):
            (folder / name).mkdir()
            self._finders[name] = self._stack.enter_context(closing(DuplicateFinder(folder / name)))
        self._path = folder / "candidates.arrow"
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = self._stack.enter_context(
            pa.ipc.new_stream(self._path, CANDIDATE_SCHEMA, options=options)
        )
        self.num_listed = 0  # images of the source so far
        self.num_candidates = 0  # of the listed ones, those that `sample` and `since` keep

    def close(self) -> None:
        """Close all files; no batch can be added afterwards."""
        self._stack.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a batch of `schema.INPUT_SCHEMA`."""
        self.num_listed += batch.num_rows
        batch = self._modified_since(batch)
        identity = pc.binary_join_element_wise(
            batch["relative_uri"], pc.fill_null(batch["etag"], ""), "\n"
        )
        made = _hex(_digests(identity))
        is_given = pc.is_valid(batch["image_id"])
        image_ids = pc.coalesce(batch["image_id"], made)
        if self._sample is not None:
            numbers = _digests(image_ids)[:, :4].copy().view(">u4")[:, 0]
            is_chosen = pa.array(numbers < self._sample * SAMPLE_SCALE)
            batch, image_ids, is_given = (c.filter(is_chosen) for c in (batch, image_ids, is_given))
        rows = self.num_candidates + np.arange(batch.num_rows)
        self.num_candidates += batch.num_rows
        self._finders["address"].add(_digests(batch["uri"]), rows)
        self._note(self._finders["given_id"], image_ids, is_given, rows)
        content = pc.binary_join_element_wise(batch["etag"], batch["size"].cast("string"), "\n")
        has_content = pc.greater(batch["size"], 0)  # empty files are not repeats of one image
        self._note(self._finders["content"], content, pc.fill_null(has_content, False), rows)
        columns = [image_ids if n == "image_id" else batch[n] for n in CANDIDATE_SCHEMA.names]
        self._writer.write_batch(pa.record_batch(columns, schema=CANDIDATE_SCHEMA))

    def repeated(self) -> dict[str, Int64[ndarray, " m"]]:
        """By reason, the candidates not to plan; ascending, each in one list only.

        Raises:
            ConfigError: two images share an id that a manifest gave them.
        """
        address = self._finders["address"].find()
        content = np.setdiff1d(self._finders["content"].find(), address, assume_unique=True)
        clashes = np.setdiff1d(self._finders["given_id"].find(), address, assume_unique=True)
        if len(clashes):
            image = self._row(int(clashes[0]))
            raise ConfigError(
                f"expected a different image_id for every image, but {len(clashes)} repeat that of"
                f" another, the first {image['image_id']!r} of {image['uri']}; mend the manifest"
            )
        return {SAME_ADDRESS: address, SAME_CONTENT: content}

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The candidates in order, each batch with its first number; no more can be added."""
        self._writer.close()
        first = 0
        with pa.OSFile(str(self._path)) as source, pa.ipc.open_stream(source) as reader:
            for batch in reader:
                yield first, batch
                first += batch.num_rows

    def _modified_since(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._since is None:
            return batch
        if batch["modified"].null_count:
            raise ConfigError(
                "expected the time at which each image was modified, for --since, but the corpus"
                f" has none for {batch['uri'][0]}; leave --since out or add a column modified"
            )
        return batch.filter(pc.greater_equal(batch["modified"], pa.scalar(self._since)))

    def _note(
        self, finder: DuplicateFinder, keys: pa.Array, counts: pa.Array, rows: Int64[ndarray, " n"]
    ) -> None:
        """Note the keys where `counts` is true and the key is known."""
        counts = pc.and_(counts, pc.is_valid(keys))
        chosen = rows[counts.to_numpy(zero_copy_only=False)]
        if len(chosen):
            finder.add(_digests(keys.filter(counts)), chosen)

    def _row(self, row: int) -> dict[str, object]:
        for first, batch in self.batches():
            if row < first + batch.num_rows:
                found: dict[str, object] = batch.slice(row - first, 1).to_pylist()[0]
                return found
        raise AssertionError(row)


def drop(batch: pa.RecordBatch, first: int, rows: Iterable[Int64[ndarray, " m"]]) -> pa.RecordBatch:
    """`batch`, whose first row has number `first`, without the numbered `rows`."""
    keep = np.ones(batch.num_rows, bool)
    for numbers in rows:
        low, high = np.searchsorted(numbers, (first, first + batch.num_rows))
        keep[numbers[low:high] - first] = False
    return batch if keep.all() else batch.filter(pa.array(keep))


def _digests(strings: pa.Array) -> UInt8[ndarray, "n 16"]:
    joined = joined_digests(strings.cast(pa.binary()).to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)


def _hex(digests: UInt8[ndarray, "n 16"]) -> pa.Array:
    """The digests as strings, as `hexdigest` writes them."""
    digits = np.empty((len(digests), 2 * DIGEST_BYTES), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = HEX_DIGITS[digests >> 4], HEX_DIGITS[digests & 15]
    width = pa.binary(2 * DIGEST_BYTES)
    fixed = pa.Array.from_buffers(width, len(digests), [None, pa.py_buffer(digits)])
    return fixed.cast(pa.binary()).cast(pa.string())
