"""The frozen plan of an export; a rerun with a different plan is refused."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from pipelines.export.classes import ClassMap
from pipelines.export.config import ExportConfig
from pipelines.export.folder import ExportFolder
from pipelines.reader import LabelledRun
from possam_core.errors import ConfigError

PLAN_KEY = "_export/plan.json"
MAX_SHOWN_CHARS = 80  # of a setting that differs


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """Everything that the bytes of an export depend on."""

    format: str
    plan_id: str  # of the run
    state: str  # hash of the names of all committed files of the run, which never change
    where: str | None
    min_grade: str | None
    uncalibrated: bool  # whether the grades promise nothing
    classes: list[dict[str, Any]]  # categories, in order
    class_of: dict[str, int]  # category id in the run -> index in `classes`
    val_share: float
    labels_only: bool
    shards: list[int]  # of the run; each becomes a unit of the export


def make_plan(config: ExportConfig, run: LabelledRun, classes: ClassMap) -> ExportPlan:
    """The plan for exporting `run` in its present state."""
    return ExportPlan(
        format=config.format.value,
        plan_id=run.plan.plan_id,
        state=sha256(json.dumps(asdict(run.commits)).encode()).hexdigest(),
        where=run.where_text,
        min_grade=config.min_grade,
        uncalibrated=run.uncalibrated is not None,
        classes=classes.to_json(),
        class_of={str(id_): index for id_, index in classes.index_of.items()},
        val_share=config.val_share,
        labels_only=config.labels_only,
        shards=run.shards(),
    )


def freeze(plan: ExportPlan, folder: ExportFolder) -> None:
    """Commit the plan of a new export, or check that the committed plan is the same.

    Raises:
        ConfigError: the folder holds an export with another plan, or something else.
    """
    found = folder.read(PLAN_KEY)
    if found is None:
        if not folder.is_empty():
            raise ConfigError(
                f"expected an empty folder at {folder.location}, but it holds files that are not"
                " an export; choose another --output"
            )
        folder.commit(PLAN_KEY, (json.dumps(asdict(plan), indent=2) + "\n").encode())
        found = folder.read(PLAN_KEY)  # another export may have committed its plan first
    older = json.loads(found or b"{}")
    wanted = json.loads(json.dumps(asdict(plan)))
    if wanted == older:
        return
    names = sorted(name for name in wanted.keys() | older.keys() if _differs(name, older, wanted))
    if set(names) <= {"state", "shards"}:
        raise ConfigError(
            f"expected {folder.location} to be of the run as it is now, but the run has grown or"
            " was corrected since that export started; choose another --output"
        )
    differences = (f"{n} {_shown(older.get(n))} -> {_shown(wanted.get(n))}" for n in names)
    raise ConfigError(
        f"expected the settings of the export in {folder.location}, got others:"
        f" {'; '.join(differences)}; choose another --output"
    )


def _differs(name: str, older: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return bool(older.get(name) != wanted.get(name))


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."
