"""A later round of a finished run: images that failed are planned and labelled again."""

import json
import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.planning.candidates import CANDIDATE_SCHEMA
from pipelines.planning.freeze import write_parts
from pipelines.planning.prepare import PreparedRun, resolve_settings
from pipelines.run.committed import read_machine_rows
from pipelines.run.finalise import finalise
from pipelines.run.folder import RunFolder, draft_folder, drafts_folder, plan_key
from pipelines.run.manifest import current_manifest
from pipelines.run.parts import SHARDS_A_PART, open_part
from pipelines.run.plan import Plan, load_plan, load_rounds, refuse_other_settings
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import normalise_location
from possam_core.errors import ConfigError
from possam_core.images.decode import ImageErrorCode

logger = logging.getLogger(__name__)

# Images that may kill or stall a worker: retried in careful mode from the first attempt on.
TRY_CAREFULLY = {
    ImageErrorCode.POISON.value,
    ImageErrorCode.DECODE_TIMEOUT.value,
    ImageErrorCode.OUT_OF_MEMORY.value,
}


def retry_config(location: str) -> LabelConfig:
    """The settings that a run was labelled with.

    Raises:
        ConfigError: there is no run.
    """
    run = RunFolder(normalise_location(location))
    plan = load_plan(run)
    if plan is None:
        raise ConfigError(
            f"expected a run at {run.location}, found no plan; make one with possam label"
        )
    settings = plan.settings
    return LabelConfig(
        images=settings.images,
        output=run.location,
        model=settings.model,
        vocabulary=settings.vocabulary_source,
        precision=settings.precision,
        shard_size=settings.shard_size,
        limit=settings.limit,
        sample=settings.sample,
        since=settings.since,
        consistency_share=settings.consistency_share,
    )


def prepare_retry(config: LabelConfig, codes: tuple[str, ...]) -> PreparedRun:
    """The unfinished retry of a run, or a new one of the images that failed with `codes`.

    Raises:
        ConfigError: the run is not finished, its model or vocabulary has changed, a code is
            unknown, nothing failed with one of them, or another retry must be finished first.
    """
    known = [code.value for code in ImageErrorCode]
    if unknown := [code for code in codes if code not in known]:
        raise ConfigError(
            f"expected codes among {', '.join(known)}, got {', '.join(unknown)}; possam errors"
            " lists those of a run"
        )
    run = RunFolder(config.output, single_writer=config.single_writer)
    settings, frozen = resolve_settings(config)
    rounds = load_rounds(run)
    refuse_other_settings(run, rounds[0], settings)
    last = rounds[-1]
    is_done = len(run.committed_shards(last.round)) == last.num_shards
    if last.round == 0 and not is_done:
        raise ConfigError(
            f"expected a finished run at {run.location}, but shards of it are open; finish it with"
            " possam label first"
        )
    if is_done:
        is_finalised = current_manifest(run, rounds) is not None
        if not is_finalised:  # an earlier process died in its last steps
            finalise(run)
        if is_finalised or (codes and set(codes) != set(last.codes)):
            last = _freeze(run, rounds, codes)
    elif codes and set(codes) != set(last.codes):
        raise _other_codes(last)
    return PreparedRun(run=run, plan=last, vocabulary=frozen.vocabulary)


def _freeze(run: RunFolder, rounds: list[Plan], codes: tuple[str, ...]) -> Plan:
    if not codes:
        raise ConfigError(
            "expected the error codes to try again, got none; choose some with --codes, as possam"
            " errors lists them"
        )
    first, number = rounds[0], len(rounds)
    shard_size = first.settings.shard_size
    parts = write_parts(
        run,
        _failed(run, sorted(codes)),
        shard_size=shard_size,
        folder=draft_folder(number, codes),
    )
    if not parts.num_images:
        raise ConfigError(
            f"expected images that failed with {', '.join(codes)} in {run.location}, found none;"
            " possam errors lists what there is"
        )
    head = {
        "plan_id": first.plan_id,
        "schema_version": first.schema_version,
        "round": number,
        "codes": sorted(codes),
        "dropped": {},
        **parts.to_json(shard_size),
    }
    run.put_new(plan_key(number), json.dumps(head, indent=2).encode())
    plan = load_plan(run, number)
    assert plan is not None
    _drop_other_drafts(run, plan)
    if set(plan.codes) != set(codes):
        raise _other_codes(plan)  # another process wrote its plan first
    return plan


def _drop_other_drafts(run: RunFolder, plan: Plan) -> None:
    """Remove the drafts of other processes, which lost this round or died before it began."""
    drafts = run.keys(drafts_folder(plan.round))
    run.remove(key for key in drafts if not key.startswith(f"{plan.parts_folder}/"))


def _other_codes(plan: Plan) -> ConfigError:
    return ConfigError(
        f"expected to finish retry {plan.round} of {', '.join(plan.codes)} first, got other"
        " codes; leave --codes out and run the command again"
    )


def _failed(run: RunFolder, codes: list[str]) -> Iterator[pa.RecordBatch]:
    """The planned images, in plan order, whose newest row has one of `codes`."""
    wanted = pa.array(codes)
    part: tuple[int, pq.ParquetFile] | None = None
    for shard in read_machine_rows(run):
        is_wanted = pc.is_in(shard.rows["error_code"], value_set=wanted)
        if not pc.any(is_wanted).as_py():
            continue
        number = shard.shard // SHARDS_A_PART
        if part is None or part[0] != number:
            part = number, open_part(run, number)
        planned = part[1].read_row_group(shard.shard % SHARDS_A_PART)
        yield from planned.filter(is_wanted).select(CANDIDATE_SCHEMA.names).to_batches()
