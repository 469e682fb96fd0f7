"""The plan of a run: the settings of its labels, and the images of each shard."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.run.folder import PLAN_FOLDER, SCHEMA_VERSIONS, RunFolder, plan_key
from possam_core.arithmetic import Precision
from possam_core.errors import ConfigError
from possam_core.labels.calibration_set import CalibrationSet

logger = logging.getLogger(__name__)


NOT_KNOWN = "not known"
FOR_PEOPLE = ("teacher", "calibrated")  # settings on which no label depends


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherRecord:
    """The model that labels a run, as its plan and all that is made of the run name it."""

    name: str
    revision: str | None  # None: not known
    licence: str | None  # of its weights; None: not known
    files: Mapping[str, str]  # file name -> sha256

    @property
    def text(self) -> str:
        """All but its files, in a few words."""
        revision, licence = self.revision or NOT_KNOWN, self.licence or NOT_KNOWN
        return f"{self.name} (revision {revision}, licence {licence})"

    @property
    def files_text(self) -> str:
        """Its files with their sha256."""
        return ", ".join(f"{name} (sha256 {sha256})" for name, sha256 in self.files.items())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "revision": self.revision,
            "licence": self.licence,
            "files": dict(self.files),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """The settings on which the labels of a run depend; the same for all of a run folder."""

    images: str  # normalised address of the corpus
    model: str  # its name or path, for people
    model_sha256: str
    vocabulary: str  # its name, for people
    vocabulary_sha256: str
    shard_size: int
    vocabulary_source: str | None = None  # as it was asked for, for a retry; None: the model's own
    precision: Precision = "float32"
    limit: int | None = None
    sample: float | None = None
    since: str | None = None
    consistency_share: float = 0.0
    teacher: TeacherRecord | None = None  # the model, for people; None: of schema 2
    # What the model's grades were measured with; None: nothing, or an older plan.
    calibrated: CalibrationSet | None = None

    def differences(self, other: "PlanSettings") -> list[str]:
        """A phrase for each setting with which `other` would give other labels."""
        mine, theirs = asdict(self), asdict(other)
        found = []
        for name in mine:
            if name in FOR_PEOPLE or name.endswith(("_sha256", "_source")):
                continue
            hashed = f"{name}_sha256"
            if hashed in mine:
                if mine[hashed] != theirs[hashed]:
                    found.append(
                        f"{name} {mine[name]} ({mine[hashed][:8]})"
                        f" -> {theirs[name]} ({theirs[hashed][:8]})"
                    )
            elif mine[name] != theirs[name]:
                found.append(f"{name} {mine[name]} -> {theirs[name]}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Head of a frozen plan; the images themselves are in its part files.

    Round 0 labels the corpus; each later round labels failed images again.
    """

    plan_id: str  # hash of the settings and all planned images; the same for all rounds
    schema_version: str  # of every file of the run, to its end
    settings: PlanSettings
    num_images: int  # of this round, as are the shards
    num_shards: int
    round: int = 0
    codes: tuple[str, ...] = ()  # error codes whose images a later round labels again
    num_dropped: int = 0  # images that repeat a planned one; round 0 only
    parts_folder: str = PLAN_FOLDER  # folder of the lists of its images

    def images_in(self, shard: int) -> int:
        """How many images a shard holds; all but the last are full."""
        size = self.settings.shard_size
        return min(size, self.num_images - shard * size)


def load_plan(run: RunFolder, round: int = 0) -> Plan | None:
    """The head of the folder's plan or of one of its later rounds, or None if it has none.

    Raises:
        ConfigError: it was made by another version of the schema.
    """
    content = run.read_json(plan_key(round))
    if content is None:
        return None
    settings = content if round == 0 else run.read_json(plan_key(0))
    try:
        if (found := content["schema_version"]) not in SCHEMA_VERSIONS:
            raise ConfigError(
                f"expected a plan of schema {' or '.join(SCHEMA_VERSIONS)} in"
                f" {run.location}/{plan_key(round)}, got {found}; use the version of possam that"
                " made it, or another --output"
            )
        return _parse_plan(content, settings["settings"])
    except (KeyError, TypeError, IndexError) as error:
        raise ConfigError(
            f"expected a plan in {run.location}/{plan_key(round)}, but"
            f" it lacks or adds something ({error}); restore it from a copy"
        ) from error


def load_rounds(run: RunFolder) -> list[Plan]:
    """The plan of the corpus, if there is one, and those of the later rounds, in order."""
    plans: list[Plan] = []
    while (plan := load_plan(run, len(plans))) is not None:
        plans.append(plan)
    return plans


def refuse_other_settings(run: RunFolder, plan: Plan, settings: PlanSettings) -> None:
    """Return only if `settings` give the same labels as those of `plan`.

    Raises:
        ConfigError: they differ; the message lists the differences.
    """
    if differences := plan.settings.differences(settings):
        raise ConfigError(
            f"expected the settings of the plan in {run.location}, got others:"
            f" {'; '.join(differences)}; choose another --output or the planned settings"
        )


def _parse_plan(content: Any, settings: Any) -> Plan:
    teacher, calibrated = settings.get("teacher"), settings.get("calibrated")
    if teacher is not None:
        settings = settings | {"teacher": TeacherRecord(**teacher)}
    if calibrated is not None:
        settings = settings | {"calibrated": CalibrationSet.from_json(calibrated)}
    return Plan(
        plan_id=content["plan_id"],
        schema_version=content["schema_version"],
        settings=PlanSettings(**settings),
        num_images=content["num_images"],
        num_shards=content["num_shards"],
        round=content["round"],
        codes=tuple(content["codes"]),
        num_dropped=sum(content["dropped"].values()),
        parts_folder=content["parts"][0]["key"].rpartition("/")[0],
    )
