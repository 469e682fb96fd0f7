"""The ablation's figures as a table in Markdown, with intervals for the gain of each part."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray

from benchmarks.ablation.measure import bootstrap, pq
from benchmarks.ablation.study import HARDER, ROWS, Job, Row, StudyRecipe, result_file
from possam_core.playground import World
from possam_core.training.tiny.encoder_stages import WORLDS

BEGIN, END = "<!-- ablation: begin -->", "<!-- ablation: end -->"


@dataclass(frozen=True, slots=True)
class Part:
    """The gain of a part: a row against the one without it."""

    title: str
    row: str
    without: str
    group: str = "all"  # of classes, of the measured world


AS_IT_IS = (
    Part("PosSAM (MASE 1) over the FC-CLIP-style baseline", "MASE 1", "FC-CLIP-style baseline"),
    Part("SAM's features, without LDP", "SAM features, no LDP", "FC-CLIP-style baseline"),
    Part("LDP A over none", "LDP A", "SAM features, no LDP"),
    Part("LDP A over none, no ensemble", "no ensemble: LDP A alone", "no ensemble, no LDP"),
    Part("LDP B over none", "LDP B", "SAM features, no LDP"),
    Part("LDP C over none", "LDP C", "SAM features, no LDP"),
    Part("MASE 1 over the fixed ensemble", "MASE 1", "fixed ensemble"),
    Part("the same, seen classes", "MASE 1", "fixed ensemble", "seen"),
    Part("the same, unseen classes", "MASE 1", "fixed ensemble", "unseen"),
    Part("MASE 2 over the fixed ensemble", "MASE 2", "fixed ensemble"),
    Part("MASE 3 over the fixed ensemble", "MASE 3", "fixed ensemble"),
    Part("MASE 1 over seen by name", "MASE 1", "LDP A"),
    Part("MASE 1 over no ensemble", "MASE 1", "no ensemble: LDP A alone"),
    Part("MASE 1 over CLIP alone", "MASE 1", "no ensemble: CLIP alone"),
    Part("the IoU head in the ranking", "MASE 1 with the IoU head", "MASE 1 without the IoU head"),
)
NAMES = {row.name for row in ROWS}
PARTS = (
    *AS_IT_IS,
    *(
        Part(part.title + HARDER, part.row + HARDER, part.without + HARDER, part.group)
        for part in AS_IT_IS
        if {part.row + HARDER, part.without + HARDER} <= NAMES
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """Networks trained on one world, measured on one."""

    learned: World
    measured: World

    @property
    def name(self) -> str:
        """Header of a column."""
        return f"{self.learned.name} to {self.measured.name}"

    @property
    def is_across(self) -> bool:
        """Between the worlds."""
        return self.learned is not self.measured


DIRECTIONS = tuple(
    Direction(learned=a, measured=b) for across in (True, False) for a in WORLDS for b in WORLDS
    if (a is not b) is across
)  # fmt: skip


def read_counts(recipe: StudyRecipe, folder: Path, row: Row, direction: Direction) -> ndarray:
    """(seeds, S, K, 4)."""
    counts = []
    for seed in recipe.seeds:
        job = _job(recipe, folder, direction, row.features, seed)
        with np.load(result_file(job, row.clip)) as content:
            counts.append(content[f"{row.name}|{direction.measured.name}"])
    return np.stack(counts)


def figures(recipe: StudyRecipe, folder: Path) -> dict[str, object]:
    """All figures of the table, as plain values."""
    rows, parts = {}, {}
    for direction in DIRECTIONS:
        groups = _groups(recipe, folder, direction)
        by_row = {r.name: read_counts(recipe, folder, r, direction) for r in ROWS}
        rows[direction.name] = {
            name: {
                group: pq(counts.sum(axis=1)[:, chosen]).tolist()
                for group, chosen in groups.items()
            }
            for name, counts in by_row.items()
        }
        parts[direction.name] = {
            p.title: bootstrap(
                by_row[p.row][:, :, groups[p.group]], by_row[p.without][:, :, groups[p.group]]
            ).tolist()
            for p in PARTS
        }
    return {"pq_by_seed": rows, "worth": parts, "iou_correlation": _correlations(recipe, folder)}


def markdown(found: dict[str, object]) -> str:
    """The tables."""
    rows, parts, correlation = found["pq_by_seed"], found["worth"], found["iou_correlation"]
    assert isinstance(rows, dict)
    assert isinstance(parts, dict)
    assert isinstance(correlation, dict)
    names = [d.name for d in DIRECTIONS]
    lines = ["| PQ, mean of the seeds ± their standard deviation | " + " | ".join(names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for row in ROWS:
        cells = [_mean(rows[name][row.name]["all"]) for name in names]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    lines += ["", "| MASE 1 in detail | " + " | ".join(names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for group in ("things", "stuff", "seen", "unseen"):
        cells = [_mean(rows[name]["MASE 1"][group]) for name in names]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    cells = [_mean(correlation[name], digits=2) for name in names]
    lines.append("| correlation of predicted and true IoU | " + " | ".join(cells) + " |")
    across = [d.name for d in DIRECTIONS if d.is_across]
    lines += ["", "| gain, PQ [95 % interval] | " + " | ".join(across) + " |"]
    lines.append("|---|" + "---|" * len(across))
    for part in PARTS:
        cells = [interval(parts[name][part.title]) for name in across]
        lines.append(f"| {part.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    """A mean and the ends of its interval as text."""
    mean, low, high = values
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def write_table(file: Path, text: str) -> None:
    """Put `text` between the two marks of a page."""
    page = file.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _groups(recipe: StudyRecipe, folder: Path, direction: Direction) -> dict[str, ndarray]:
    """Which classes of the measured world are in which group."""
    about = _about(recipe, folder, direction, recipe.seeds[0])
    is_seen = np.array(about["is_seen"][direction.measured.name])
    is_thing = np.array([c.is_thing for c in direction.measured.vocabulary.classes])
    everything = np.ones_like(is_seen)
    return {
        "all": everything, "things": is_thing, "stuff": ~is_thing,
        "seen": is_seen, "unseen": ~is_seen,
    }  # fmt: skip


def _correlations(recipe: StudyRecipe, folder: Path) -> dict[str, list[float]]:
    """Correlations of the predicted and the true IoU, by direction and seed."""
    return {
        d.name: [
            _about(recipe, folder, d, seed)["iou_correlation"][d.measured.name]
            for seed in recipe.seeds
        ]
        for d in DIRECTIONS
    }


def _about(
    recipe: StudyRecipe, folder: Path, direction: Direction, seed: int
) -> dict[str, dict[str, float]]:
    job = _job(recipe, folder, direction, "sam", seed)
    about: dict[str, dict[str, float]] = json.loads(
        result_file(job, "as it is").with_suffix(".json").read_text()
    )
    return about


def _job(recipe: StudyRecipe, folder: Path, direction: Direction, features: str, seed: int) -> Job:
    world = direction.learned.name
    return Job(recipe=recipe, folder=folder, world=world, seed=seed, features=features)


def _mean(values: list[float], *, digits: int = 1) -> str:
    spread = np.std(values, ddof=1) if len(values) > 1 else 0
    return f"{np.mean(values):.{digits}f} ± {spread:.{digits}f}"
