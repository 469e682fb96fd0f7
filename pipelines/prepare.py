"""Everything that can be checked before a model is loaded or a cluster started."""

import logging
from dataclasses import dataclass
from pathlib import Path

from pipelines.inputs import find_images, identify, require_corpus
from pipelines.label import LabelConfig
from pipelines.plan import Plan, PlanSettings, freeze_plan, load_plan, refuse_other_settings
from pipelines.run_folder import RunFolder
from pipelines.store import STORE_ERRORS, is_s3
from possam_core.checkpoint import model_fingerprint, model_vocabulary
from possam_core.errors import ConfigError
from possam_core.vocabularies import find_vocabulary
from possam_core.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run folder with its frozen plan, and the vocabulary to label with."""

    run: RunFolder
    plan: Plan
    vocabulary: Vocabulary


def prepare(config: LabelConfig) -> PreparedRun:
    """Find or make the plan that `config` asks for.

    A folder that has a plan keeps it: the corpus is not listed again.

    Raises:
        PossamError: something about `config` cannot work; nothing has been written then.
    """
    try:
        run, plan = _find_plan(config.output)
        if run is None or plan is None:
            files = find_images(config.images)  # before anything that takes long or writes
            settings, vocabulary = _resolve(config)
            run = _open_new_run(config.output)
            plan = freeze_plan(run, settings, identify(files))
            logger.info("planned %d images in %d shards", plan.num_images, plan.num_shards)
        else:
            require_corpus(config.images)
            settings, vocabulary = _resolve(config)
            refuse_other_settings(run, plan, settings)
    except STORE_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"expected a store that answers at {config.output}, but it failed ({reason});"
            " check the address, AWS_ENDPOINT_URL and the credentials"
        ) from error
    return PreparedRun(run=run, plan=plan, vocabulary=vocabulary)


def _resolve(config: LabelConfig) -> tuple[PlanSettings, Vocabulary]:
    model_sha256 = model_fingerprint(config.model)
    vocabulary = resolve_vocabulary(config.vocabulary, model=config.model)
    settings = PlanSettings(
        images=config.images,
        model=config.model,
        model_sha256=model_sha256,
        vocabulary=vocabulary.name,
        vocabulary_sha256=vocabulary.fingerprint,
        shard_size=config.shard_size,
    )
    return settings, vocabulary


def resolve_vocabulary(name: str | None, *, model: str) -> Vocabulary:
    """The built-in vocabulary `name`, that of the YAML file `name`, or the checkpoint's own.

    Raises:
        VocabularyError: there is no such vocabulary.
    """
    if name is None:
        return model_vocabulary(model)
    return find_vocabulary(name)


def _find_plan(output: str) -> tuple[RunFolder | None, Plan | None]:
    if not is_s3(output) and not Path(output).is_dir():
        return None, None
    run = RunFolder(output)
    return run, load_plan(run)


def _open_new_run(output: str) -> RunFolder:
    run = RunFolder(output, create=True)
    run.probe()
    if run.committed_shards():
        raise ConfigError(
            f"expected a new run folder or one with a plan, but {output} has labels and no plan;"
            " choose another --output"
        )
    return run
