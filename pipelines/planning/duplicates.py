"""Finds rows of a long stream that repeat an earlier one, on disk rather than in memory."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

NUM_BUCKETS = 64
DIGEST_BYTES = 16
RECORD = np.dtype([("high", ">u8"), ("low", ">u8"), ("row", "<u8")])


class DuplicateFinder:
    """Sorts digests into files by their first bits, so that equal ones are in one small file."""

    def __init__(self, folder: Path) -> None:
        """Write into `folder`, which must exist and be empty."""
        self._paths = [folder / f"bucket-{i:02d}" for i in range(NUM_BUCKETS)]
        self._files: list[BinaryIO] = [path.open("ab") for path in self._paths]

    def close(self) -> None:
        """Close the files, which stay."""
        for file in self._files:
            file.close()

    def add(self, digests: UInt8[ndarray, "n 16"], rows: Int64[ndarray, " n"]) -> None:
        """Note the digests of some rows."""
        records = np.empty(len(rows), RECORD)
        records["high"] = np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0]
        records["low"] = np.ascontiguousarray(digests[:, 8:]).view(">u8")[:, 0]
        records["row"] = rows
        buckets = digests[:, 0] >> 2  # the first 6 bits
        order = np.argsort(buckets, kind="stable")
        bounds = np.searchsorted(buckets[order], np.arange(NUM_BUCKETS + 1))
        records = records[order]
        for i, file in enumerate(self._files):
            if bounds[i] < bounds[i + 1]:
                file.write(records[bounds[i] : bounds[i + 1]].tobytes())

    def find(self) -> Int64[ndarray, " m"]:
        """The rows so far whose digest an earlier row has, in ascending order."""
        for file in self._files:
            file.flush()
        found = [_repeated(np.fromfile(path, RECORD)) for path in self._paths]
        return np.sort(np.concatenate(found))


def joined_digests(values: Iterable[bytes]) -> bytes:
    """The digests of all values, one behind the other."""
    make = hashlib.blake2b
    return b"".join([make(value, digest_size=DIGEST_BYTES).digest() for value in values])


def _repeated(records: ndarray) -> Int64[ndarray, " m"]:
    records = records[np.lexsort((records["row"], records["low"], records["high"]))]
    later, earlier = records[1:], records[:-1]
    is_same = (later["high"] == earlier["high"]) & (later["low"] == earlier["low"])
    rows: Int64[ndarray, " m"] = later["row"][is_same].astype(np.int64)
    return rows
