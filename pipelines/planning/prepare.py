"""Everything that can be checked before a model is loaded or a cluster started."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipelines.corpus.source import read_source, require_corpus
from pipelines.planning.freeze import freeze_plan
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.plan import Plan, PlanSettings, load_plan, refuse_other_settings
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import is_s3
from pipelines.storage.store import trouble_named
from possam_core.checkpoints.header import model_fingerprint, model_training_names, model_vocabulary
from possam_core.errors import ConfigError
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run folder with the plan of one of its rounds, and the vocabulary to label with."""

    run: RunFolder
    plan: Plan
    vocabulary: Vocabulary


def prepare(
    config: LabelConfig, *, on_listed: Callable[[int], None] = lambda _: None
) -> PreparedRun:
    """Find or make the plan that `config` asks for.

    A folder that has a plan keeps it: the corpus is not listed again.

    Args:
        config: of the job.
        on_listed: called now and then with the number of images listed so far.

    Raises:
        PossamError: something about `config` cannot work; nothing has been written then.
    """
    with trouble_named(config.output):
        run, plan = _find_plan(config)
        if run is None or plan is None:
            batches = read_source(config.images, allowed_hosts=config.allowed_hosts)
            first = next(batches)  # fails on an empty corpus before anything slow or written
            settings, frozen = resolve_settings(config)
            run = _open_new_run(config)
            plan = freeze_plan(
                run,
                settings,
                chain([first], batches),
                vocabulary=frozen,
                on_listed=on_listed,
            )
            logger.info("planned %d images in %d shards", plan.num_images, plan.num_shards)
        else:
            require_corpus(config.images)
            settings, frozen = resolve_settings(config)
            refuse_other_settings(run, plan, settings)
    return PreparedRun(run=run, plan=plan, vocabulary=frozen.vocabulary)


def resolve_settings(config: LabelConfig) -> tuple[PlanSettings, FrozenVocabulary]:
    """What the labels of `config` depend on, and the vocabulary as the run folder keeps it.

    Raises:
        PossamError: there is no such model or vocabulary.
    """
    model_sha256 = model_fingerprint(config.model)
    vocabulary = resolve_vocabulary(config.vocabulary, model=config.model)
    settings = PlanSettings(
        images=config.images,
        model=_absolute(config.model),
        model_sha256=model_sha256,
        vocabulary=vocabulary.name,
        vocabulary_sha256=vocabulary.fingerprint,
        vocabulary_source=None if config.vocabulary is None else _absolute(config.vocabulary),
        precision=config.precision,
        shard_size=config.shard_size,
        limit=config.limit,
        sample=config.sample,
        since=config.since,
        consistency_share=config.consistency_share,
    )
    is_seen = vocabulary.seen_in(model_training_names(config.model))
    return settings, FrozenVocabulary(vocabulary=vocabulary, is_seen=is_seen)


def resolve_vocabulary(name: str | None, *, model: str) -> Vocabulary:
    """The built-in vocabulary `name`, that of the YAML file `name`, or the checkpoint's own.

    Raises:
        VocabularyError: there is no such vocabulary.
    """
    if name is None:
        return model_vocabulary(model)
    return find_vocabulary(name)


def _absolute(name: str) -> str:
    """The absolute path if `name` is a file, so that a retry in another folder finds it."""
    return str(Path(name).absolute()) if Path(name).is_file() else name


def _find_plan(config: LabelConfig) -> tuple[RunFolder | None, Plan | None]:
    if not is_s3(config.output) and not Path(config.output).is_dir():
        return None, None
    run = RunFolder(config.output, single_writer=config.single_writer)
    return run, load_plan(run)


def _open_new_run(config: LabelConfig) -> RunFolder:
    run = RunFolder(config.output, create=True, single_writer=config.single_writer)
    run.probe()
    if run.committed_shards():
        raise ConfigError(
            f"expected a new run folder or one with a plan, but {config.output} has labels and no"
            " plan; choose another --output"
        )
    return run
