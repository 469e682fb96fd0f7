"""Everything that can be checked before a model is loaded or a cluster started."""

import logging
from dataclasses import dataclass
from pathlib import Path

from pipelines.inputs import find_images, identify, require_corpus
from pipelines.label import LabelConfig
from pipelines.plan import Plan, PlanSettings, freeze_plan, load_plan, refuse_other_settings
from pipelines.run_folder import RunFolder
from pipelines.store import STORE_ERRORS, is_s3
from possam_core.errors import ConfigError, VocabularyError
from possam_core.playground.classes import playground_vocabulary
from possam_core.vocabulary import Vocabulary, load_vocabulary

logger = logging.getLogger(__name__)

PLAYGROUND = "playground"  # the built-in vocabulary
YAML_SUFFIXES = (".yaml", ".yml")


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
    from possam_core.weights import model_fingerprint  # torch: not for those who fail above

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
    """The vocabulary called `name`, read from the YAML file `name`, or the checkpoint's own.

    Raises:
        VocabularyError: there is no such vocabulary.
    """
    if name is None:
        from possam_core.weights import model_vocabulary  # as above

        return model_vocabulary(model)
    if name == PLAYGROUND:
        return playground_vocabulary()
    if name.endswith(YAML_SUFFIXES) or Path(name).is_file():
        return load_vocabulary(Path(name))
    raise VocabularyError(
        f"expected a YAML file or the built-in vocabulary {PLAYGROUND!r}, got {name!r}; leave"
        " --vocabulary out for the model's own"
    )


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
