"""Everything that can be checked before a model is loaded or a cluster started."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipelines.corpus.source import read_source, require_corpus
from pipelines.planning.freeze import freeze_plan
from pipelines.planning.precision import chosen_precision
from pipelines.run.classes import FrozenVocabulary
from pipelines.run.folder import RunFolder
from pipelines.run.plan import Plan, PlanSettings, TeacherRecord, load_plan, refuse_other_settings
from pipelines.settings.label import LabelConfig
from pipelines.storage.addresses import is_s3
from pipelines.storage.store import trouble_named
from possam_core.checkpoints.calibration_file import find_calibration
from possam_core.checkpoints.card import TeacherCard
from possam_core.checkpoints.models import find_other, is_own_teacher, read_card
from possam_core.checkpoints.transformers_folder import TransformersFolder, is_transformers_folder
from possam_core.errors import ConfigError, PossamError, VocabularyError
from possam_core.vocabulary.builtin import find_vocabulary
from possam_core.vocabulary.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

BEFORE_A_PLAN = ("_plan/", "_runs/")  # beginnings of what a run may hold without one


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
        run, plan = find_plan(config)
        if run is None or plan is None:
            batches = read_source(config.images, allowed_hosts=config.allowed_hosts)
            first = next(batches)  # fails on an empty corpus before anything slow or written
            settings, frozen = resolve_settings(config, plan)
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
            settings, frozen = resolve_settings(config, plan)
            refuse_other_settings(run, plan, settings)
    return PreparedRun(run=run, plan=plan, vocabulary=frozen.vocabulary)


def resolve_settings(
    config: LabelConfig, plan: Plan | None = None
) -> tuple[PlanSettings, FrozenVocabulary]:
    """What the labels of `config` depend on, and the vocabulary as the run folder keeps it.

    Args:
        config: of the job.
        plan: which the run folder has already; None: none.

    Raises:
        PossamError: there is no such model or vocabulary.
    """
    try:
        card = describe_model(config)
    except PossamError as error:
        if mistake := _vocabulary_mistake(config.vocabulary):
            raise ConfigError(f"2 settings are wrong: (1) {error} (2) {mistake}") from error
        raise
    vocabulary = resolve_vocabulary(config.vocabulary, card)
    _check_tensors(config.model, vocabulary)
    settings = PlanSettings(
        images=config.images,
        model=_absolute(config.model),
        model_sha256=card.fingerprint,
        vocabulary=vocabulary.name,
        vocabulary_sha256=vocabulary.fingerprint,
        vocabulary_source=None if config.vocabulary is None else _absolute(config.vocabulary),
        precision=chosen_precision(config, plan),
        shard_size=config.shard_size,
        limit=config.limit,
        sample=config.sample,
        since=config.since,
        consistency_share=config.consistency_share,
        teacher=TeacherRecord(
            name=card.name, revision=card.revision, licence=card.licence, files=dict(card.files)
        ),
        calibrated=card.calibrated,
    )
    is_seen = card.is_seen(vocabulary)
    return settings, FrozenVocabulary(vocabulary=vocabulary, is_seen=is_seen)


def _vocabulary_mistake(name: str | None) -> str:
    """What is wrong with the vocabulary that `name` stands for, as a sentence; empty: nothing."""
    try:
        if name is not None:
            find_vocabulary(name)
    except VocabularyError as error:
        return str(error)
    return ""


def describe_model(config: LabelConfig) -> TeacherCard:
    """What is known of the model, from its files; a teacher of the user's own is loaded and tried.

    Raises:
        PossamError: there is no such model, or it cannot label.
    """
    if not is_own_teacher(config.model):
        return read_card(config.model)
    from possam_core.teachers.own import load_own_teacher  # torch: others do without

    vocabulary = None if config.vocabulary is None else find_vocabulary(config.vocabulary)
    return load_own_teacher(config.model, vocabulary, device="cpu").card


def resolve_vocabulary(name: str | None, card: TeacherCard) -> Vocabulary:
    """The built-in vocabulary `name`, that of the YAML file `name`, or the model's own.

    Raises:
        VocabularyError: there is no such vocabulary, the model has no classes of its own, or is a
            closed one with others.
    """
    if name is not None:
        vocabulary = find_vocabulary(name)
        card.require_labelled(vocabulary)
        return vocabulary
    if card.vocabulary is None:
        raise VocabularyError(
            f"expected a vocabulary for the model {card.name}, which has none of its own; name one"
            " with --vocabulary"
        )
    return card.vocabulary


def _check_tensors(model: str, vocabulary: Vocabulary) -> None:
    """Files that come from elsewhere are known to fit before anything is written."""
    other = find_other(model)
    if (calibration := find_calibration(model)) is not None:
        from possam_core.checkpoints.weights import build_calibration

        build_calibration(calibration)
    if isinstance(other, TransformersFolder):
        from possam_core.teachers.closed.files import open_closed  # torch: others do without

        open_closed(other, vocabulary)
    elif other is not None:
        from possam_core.teachers.fc_clip.files import check_fc_clip

        check_fc_clip(other, vocabulary)


def _absolute(name: str) -> str:
    """The absolute path if `name` is one, so that a retry in another folder finds it."""
    is_path = Path(name).is_file() or is_transformers_folder(name)
    return str(Path(name).absolute()) if is_path else name


def find_plan(config: LabelConfig) -> tuple[RunFolder | None, Plan | None]:
    """The run folder, if there is one, and its plan, if it has one."""
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
    if not config.force and (other := next(filter(_is_foreign, run.keys("")), None)):
        raise ConfigError(
            f"expected an empty folder or a run at {config.output}, but it holds {other}, which is"
            " no part of a run; choose another --output, or start one there all the same with"
            " --force"
        )
    return run


def _is_foreign(key: str) -> bool:
    """Whether a file is of neither a plan that was not finished nor hidden."""
    return not key.startswith(BEFORE_A_PLAN) and not key.rpartition("/")[2].startswith(".")
