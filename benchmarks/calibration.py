"""What the grades promise: panoptic quality of possam-tiny on playground scenes, by grade.

The scenes of one seed serve to choose the thresholds in `possam_core/quality.py`; those of another,
which no choice has seen, give its table EXPECTED_PQ. For both seeds it prints images and PQ of each
grade, and how well each measure orders the images by their PQ (Spearman's rank correlation).
Consistency is measured on a quarter of the scenes. Writes `build/bench/calibration.json`.

usage: python -m benchmarks.calibration
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.report import write_json
from possam_core.boundary import boundary_sharpness
from possam_core.consistency import CHANGES, is_sampled, measure_consistency
from possam_core.evaluation.measurement import annotation
from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    PanopticQualityCounts,
    count_matches,
    summarise,
)
from possam_core.playground import PLAYGROUND, Scene, generate_scene
from possam_core.predictor import Predictor, load_predictor
from possam_core.quality import EXPECTED_PQ, GRADES, Quality, assess

OUTPUT = Path("build/bench/calibration.json")
SEED_TO_CHOOSE, SEED_TO_REPORT = 501, 502
NUM_SCENES = 400  # of each seed
CONSISTENCY_SHARE = 0.25
MEASURES = (
    *("coverage", "mean_score", "min_score", "mean_predicted_iou", "entropy", "clip_agreement"),
    *("boundary_sharpness", "consistency"),
)


@dataclass(frozen=True, slots=True)
class Graded:
    """One labelled scene: what is said of its labels, and how they match the truth."""

    quality: Quality
    counts: PanopticQualityCounts

    @property
    def pq(self) -> float:
        """Of this scene alone."""
        return pq_of([self])


def pq_of(scenes: Sequence[Graded]) -> float:
    """PQ over the classes that occur in some scenes, in [0, 1]."""
    counts = sum((s.counts for s in scenes), PanopticQualityCounts())
    return summarise(counts, {"all": counts.per_category})["all"].pq


def label_scenes(predictor: Predictor, seed: int) -> Iterator[Graded]:
    """Label and grade the scenes of one seed."""
    for index in track(range(NUM_SCENES), f"scenes of seed {seed}", console=Console(stderr=True)):
        scene = generate_scene(seed, index)
        (segmentation,) = predictor([scene.image])
        consistency = None
        if is_sampled(f"{seed}/{index}", CONSISTENCY_SHARE):
            copies = predictor([change.apply(scene.image) for change in CHANGES])
            consistency = measure_consistency(segmentation, copies)
        sharpness = boundary_sharpness(scene.image, segmentation.ids)
        quality = assess(segmentation, boundary_sharpness=sharpness, consistency=consistency)
        yield Graded(quality, count_matches(truth_of(scene), annotation(segmentation)))


def truth_of(scene: Scene) -> PanopticAnnotation:
    """The scene as ground truth names it."""
    classes = PLAYGROUND.vocabulary.classes
    names = {i: classes[c].category_id for i, c in enumerate(scene.class_indices, start=1)}
    return PanopticAnnotation(ids=scene.ids, category_ids=names)


def grades_of(scenes: Sequence[Graded]) -> dict[str, dict[str, float]]:
    """Images and PQ of each grade that occurs."""
    by_grade = defaultdict(list)
    for scene in scenes:
        by_grade[scene.quality.grade].append(scene)
    return {
        grade: {"images": len(by_grade[grade]), "pq": pq_of(by_grade[grade])}
        for grade in GRADES
        if by_grade[grade]
    }


def correlations_of(scenes: Sequence[Graded]) -> dict[str, float]:
    """Spearman's rank correlation of each measure with the PQ of the scene."""
    found = {}
    for name in MEASURES:
        known = [s for s in scenes if getattr(s.quality, name) is not None]
        values = [getattr(s.quality, name) for s in known]
        found[name] = float(spearmanr(values, [s.pq for s in known]).statistic)
    return found


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    predictor = load_predictor("possam-tiny")
    seeds = {s: list(label_scenes(predictor, s)) for s in (SEED_TO_CHOOSE, SEED_TO_REPORT)}
    grades = {seed: grades_of(scenes) for seed, scenes in seeds.items()}
    correlations = {seed: correlations_of(scenes) for seed, scenes in seeds.items()}
    titles = [f"seed {seed}: images, PQ" for seed in seeds]
    table = Table("grade", *titles, "expected PQ", title=f"{NUM_SCENES} scenes a seed")
    for grade in GRADES:
        found = (grades[seed].get(grade) for seed in seeds)
        cells = [f"{g['images']:.0f}, {100 * g['pq']:.1f}" if g else "none" for g in found]
        table.add_row(grade, *cells, f"{100 * EXPECTED_PQ[grade]:.1f}")
    ranks = Table("measure", *(f"seed {seed}" for seed in seeds), title="rank correlation with PQ")
    for name in MEASURES:
        ranks.add_row(name, *(f"{correlations[seed][name]:.2f}" for seed in seeds))
    Console().print(table, ranks)
    write_json(
        OUTPUT,
        {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "num_scenes": NUM_SCENES,
            "grades": grades,
            "correlations": correlations,
        },
    )


if __name__ == "__main__":
    main()
