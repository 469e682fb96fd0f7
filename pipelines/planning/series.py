"""A series: runs of one growing corpus, each of the images that no earlier run has.

Every run of a series is an ordinary run folder, `<series>/000001` and so on. The images already
planned are read from the plans of the runs, so the next call plans what a missed one did not. Two
calls at once are safe without a lock: each freezes its plan as a draft in a folder of its own, and
claims the next number for it with one put-if-absent. The loser plans again without the winner's
images. A claim is permanent: any call that finds its plan missing copies the draft to its number.
A draft is removed once it is copied or has lost; the rest of a killed process's draft is never
read.
"""

import logging
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Shaped
from numpy import ndarray

from pipelines.corpus.image import make_image_id
from pipelines.corpus.source import read_source
from pipelines.planning.duplicates import DIGEST_BYTES, joined_digests
from pipelines.planning.freeze import freeze_plan
from pipelines.planning.prepare import resolve_settings
from pipelines.run.folder import RunFolder, plan_key
from pipelines.run.manifest import read_manifest
from pipelines.run.parts import SHARDS_A_PART, open_part
from pipelines.run.plan import Plan, load_plan, refuse_other_settings
from pipelines.settings.label import LabelConfig
from pipelines.storage.store import trouble_named
from possam_core.errors import ConfigError

logger = logging.getLogger(__name__)

CLAIM_KEY = re.compile(r"_claims/(\d{6})")
KEYS_AN_IMAGE = 3
KEY_COLUMNS = ["image_id", "uri", "size", "etag"]

Digests = Shaped[ndarray, "N 3"]  # of bytes, KEYS_AN_IMAGE for each image


class Series:
    """The runs below one folder; memory is 48 bytes for each image that they have planned."""

    def __init__(self, config: LabelConfig) -> None:
        """Open the series at `config.output`, or begin one.

        Raises:
            ConfigError: the folder cannot be used, or has runs with other settings.
        """
        self._config = config
        with trouble_named(config.output):
            self._folder = self._open(config.output)
            self._settings, self._frozen = resolve_settings(config)
            if not self._claims():
                self._folder.probe()
            for number in self._claims():
                run, plan = self._run(number)
                of_its_own = replace(
                    self._settings,
                    limit=plan.settings.limit,
                    shard_size=plan.settings.shard_size,
                )
                refuse_other_settings(run, plan, of_its_own)

    def unfinished(self) -> list[LabelConfig]:
        """The settings of each run that is not finalised, the oldest first."""
        with trouble_named(self._config.output):
            runs = [self._run(number) for number in self._claims()]
            return [self._config_of(run, plan) for run, plan in runs if read_manifest(run) is None]

    def plan_new(self) -> LabelConfig | None:
        """The settings of a newly planned run of the images that no run has; None: no image.

        Raises:
            ConfigError: the corpus cannot be read.
        """
        with trouble_named(self._config.output):
            while True:
                claims = self._claims()
                draft = self._draft(_planned(map(self._run, claims)))
                if draft is None:
                    return None
                number = len(claims) + 1
                if self._claim(number, draft):
                    run, plan = self._run(number)
                    logger.info("planned %d new images in %s", plan.num_images, run.location)
                    return self._config_of(run, plan)
                self._forget(draft)
                logger.info("another call has claimed run %d, planning again", number)

    def _draft(self, taken: Digests) -> str | None:
        """The name of a draft of a plan without the images `taken`; None: no image is left."""
        images = read_source(self._config.images, allowed_hosts=self._config.allowed_hosts)
        batches = (_without(batch, taken) for batch in images)
        batches = (batch for batch in batches if batch.num_rows)
        first = next(batches, None)
        if first is None:
            return None
        name = uuid.uuid4().hex
        freeze_plan(
            self._open(self._place(f"_drafts/{name}")),
            self._settings,
            chain([first], batches),
            vocabulary=self._frozen,
        )
        return name

    def _run(self, number: int) -> tuple[RunFolder, Plan]:
        """A claimed run, with its plan in place."""
        run = self._open(self._place(f"{number:06d}"))
        if (plan := load_plan(run)) is not None:
            return run, plan
        name = self._folder.read(_claim_key(number))
        assert name is not None  # claims are never removed
        # Not read by opening its folder, which would create it again if another call removed it.
        draft = f"_drafts/{name.decode()}/"
        keys = (key.removeprefix(draft) for key in self._folder.keys(f"{draft}_plan"))
        # The head comes last: it is the plan's commit.
        for key in sorted(keys, key=lambda key: key == plan_key(0)):
            content = self._folder.read(draft + key)
            if content is None:
                break  # another call has copied it meanwhile
            run.put_new(key, content)
        plan = load_plan(run)
        if plan is None:
            raise ConfigError(
                f"expected the plan of run {number} in {self._place(draft)}, found none; restore it"
                " from a copy, or begin another series with another output"
            )
        self._forget(name.decode())
        return run, plan

    def _forget(self, draft: str) -> None:
        """Remove a draft that has been copied to its number, or never will be."""
        self._folder.remove(self._folder.keys(f"_drafts/{draft}"))

    def _claim(self, number: int, draft: str) -> bool:
        """Whether the number now belongs to the draft."""
        content = draft.encode()
        if self._folder.put_new(_claim_key(number), content):
            return True
        # After a lost reply the claim found there may be our own.
        return self._folder.read(_claim_key(number)) == content

    def _claims(self) -> range:
        """The claimed numbers; one listing."""
        matches = map(CLAIM_KEY.fullmatch, self._folder.keys("_claims"))
        return range(1, 1 + max((int(m[1]) for m in matches if m), default=0))

    def _config_of(self, run: RunFolder, plan: Plan) -> LabelConfig:
        limit, shard_size = plan.settings.limit, plan.settings.shard_size
        return replace(self._config, output=run.location, limit=limit, shard_size=shard_size)

    def _open(self, location: str) -> RunFolder:
        return RunFolder(location, create=True, single_writer=self._config.single_writer)

    def _place(self, name: str) -> str:
        return f"{self._config.output}/{name}"


def _claim_key(number: int) -> str:
    return f"_claims/{number:06d}"


def _planned(runs: Iterable[tuple[RunFolder, Plan]]) -> Digests:
    """Digests of the planned images, sorted so that they can be searched."""
    parts = [np.empty(0, f"S{DIGEST_BYTES}")]
    for run, plan in runs:
        num_parts = -(-plan.num_shards // SHARDS_A_PART)
        for part in range(num_parts):
            rows = open_part(run, part).read(columns=KEY_COLUMNS)
            parts.append(_digests(rows.to_pylist()).ravel())
    return np.sort(np.concatenate(parts))


def _without(batch: pa.RecordBatch, taken: Shaped[ndarray, " M"]) -> pa.RecordBatch:
    """The rows of a batch of INPUT_SCHEMA that are not planned yet."""
    rows = batch.select([*KEY_COLUMNS, "relative_uri"]).to_pylist()
    for row in rows:
        row["image_id"] = row["image_id"] or make_image_id(row["relative_uri"], row["etag"])
    return batch.filter(pa.array(~_is_in(_digests(rows), taken).any(axis=1)))


def _is_in(digests: Digests, taken: Shaped[ndarray, " M"]) -> Bool[ndarray, "N 3"]:
    if not taken.size:
        return np.zeros(digests.shape, bool)
    places = np.searchsorted(taken, digests).clip(max=taken.size - 1)
    return np.asarray(taken[places] == digests)


def _digests(rows: Iterable[dict[str, object]]) -> Digests:
    keys = chain.from_iterable(map(_keys, rows))
    return np.frombuffer(joined_digests(keys), f"S{DIGEST_BYTES}").reshape(-1, KEYS_AN_IMAGE)


def _keys(row: dict[str, object]) -> Iterator[bytes]:
    """The keys that identify an image: its id, its address, its content.

    The last two identify images that a plan left out because they repeat a planned one.
    """
    by_id = _key("id", row["image_id"])
    yield by_id
    yield _key("address", row["uri"], row["etag"] or "")
    # Empty files are not repeats of one image.
    yield _key("content", row["etag"], row["size"]) if row["etag"] and row["size"] else by_id


def _key(*parts: object) -> bytes:
    return "\n".join(map(str, parts)).encode()
