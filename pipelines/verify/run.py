"""One pass over a run: parts in order, the files of each in a few threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipelines.run.folder import RunFolder
from pipelines.storage.addresses import normalise_location
from pipelines.storage.store import STORE_ERRORS
from pipelines.verify.correction_file import correction_problems
from pipelines.verify.folder import foreign_objects, open_uploads
from pipelines.verify.manifest_check import MANIFEST_KEY, Recount, manifest_problems
from pipelines.verify.planned import (
    PlannedRound,
    PlannedShard,
    one_line,
    read_parts,
    read_rounds,
    repeated_images,
)
from pipelines.verify.report import VerifyReport
from pipelines.verify.shard_file import FileCount, check_file
from pipelines.verify.vocabulary_check import vocabulary_problems
from possam_core.errors import ConfigError

THREADS = 4


def verify_run(
    location: str, *, on_file: Callable[[int, int], None] = lambda done, total: None
) -> VerifyReport:
    """The result of a recount of the run at `location`, which is not changed.

    Memory is that of a few files, 8 bytes an image and, if there are retries, the failed images.

    Args:
        location: of the run folder.
        on_file: called with the number of files checked and their total.

    Raises:
        ConfigError: there is no run, its plan cannot be parsed, or reading failed.

    Example:
        >>> from pipelines import verify_run
        >>> verify_run("run").problems
        []
    """
    run = RunFolder(normalise_location(location))
    try:
        rounds = read_rounds(run)
        if not rounds:
            raise ConfigError(
                f"expected a run at {run.location}, found no plan; make one with possam label"
            )
        return _Verifier(run, rounds, on_file).verify()
    except STORE_ERRORS as error:
        raise ConfigError(
            f"expected a readable run at {run.location}, but reading failed ({one_line(error)});"
            " try again, or check the address and the credentials"
        ) from error


class _Verifier:
    """The counts and problems of one pass so far."""

    def __init__(
        self, run: RunFolder, rounds: list[PlannedRound], on_file: Callable[[int, int], None]
    ) -> None:
        self.run = run
        self.rounds = rounds
        self.on_file = on_file
        self.problems: list[str] = []
        self.recount = Recount(num_images=rounds[0].num_images)
        self.failed: dict[str, str] = {}  # image_id -> error code of its newest row
        self.corrected: set[str] = set()  # ids that no part of the plan has listed so far
        self.num_done = 0
        self.is_complete = True  # so far

    def verify(self) -> VerifyReport:
        """Check the plan, every file and the manifest once."""
        self.problems += vocabulary_problems(self.run)
        self._check_corrections()
        with ThreadPoolExecutor(THREADS) as pool:
            for planned in self.rounds:
                self._check_round(planned, pool)
        if self.is_complete:  # otherwise they may be in a missing part
            self.problems += (
                f"corrections/: image {image_id} is corrected, but not planned"
                for image_id in sorted(self.corrected)
            )
        self._check_manifest()
        self.problems += foreign_objects(self.run, self.rounds)
        self.problems += open_uploads(self.run.location)
        return VerifyReport(
            location=self.run.location,
            problems=self.problems,
            is_complete=self.is_complete,
            num_images=self.rounds[0].num_images,
            num_files=len(self.recount.files),
            num_segments=self.recount.num_segments,
            num_rounds=len(self.rounds),
        )

    def _check_round(self, planned: PlannedRound, pool: ThreadPoolExecutor) -> None:
        self.problems += planned.problems(self.rounds[0])
        hashes = [np.empty(0, np.int64)]
        for part in read_parts(self.run, planned):
            self.problems += part.problems
            self.is_complete &= part.is_readable
            counts = pool.map(self._check_file, part.shards)
            for shard, count in zip(part.shards, counts, strict=True):
                self._add(shard, count)
                hashes.append(np.array([hash(i) for i in shard.image_ids], np.int64))
                self.corrected.difference_update(shard.image_ids)
        self.problems += repeated_images(self.run, planned, np.concatenate(hashes))

    def _check_corrections(self) -> None:
        for key in sorted(self.run.keys("corrections")):
            data = self.run.read(key)
            if data is not None and key.endswith(".parquet"):
                version = self.rounds[0].row_version
                self.problems += correction_problems(key, data, self.corrected, version=version)

    def _check_file(self, shard: PlannedShard) -> FileCount | None:
        data = self.run.read(shard.key)
        return None if data is None else check_file(shard, data)

    def _add(self, shard: PlannedShard, count: FileCount | None) -> None:
        self.num_done += 1
        self.on_file(self.num_done, sum(r.num_shards for r in self.rounds))
        if count is None:
            self.is_complete = False
            self.problems.append(
                f"{shard.key}: is missing, so {shard.images.num_rows} images have no row there"
            )
            return
        self.problems += count.problems
        if shard.round.number:
            self.problems += self._replace_failed(shard)
        if len(self.rounds) > 1:
            self.failed |= count.failed
        self.recount.add(count)

    def _replace_failed(self, shard: PlannedShard) -> Iterator[str]:
        """Remove the errors that the rows of a retry replace."""
        for image_id in shard.image_ids:
            code = self.failed.pop(image_id, None)
            if code is not None:
                self.recount.errors[code] -= 1
            elif self.is_complete:  # otherwise its earlier row may be missing
                yield f"{shard.key}: image {image_id}: is retried, but had not failed before"

    def _check_manifest(self) -> None:
        data = self.run.read(MANIFEST_KEY)
        if data is None:
            self.is_complete = False
            self.problems.append(f"{MANIFEST_KEY}: is missing, so the run is not finished")
        else:
            self.problems += manifest_problems(data, self.rounds[0], self.recount)
