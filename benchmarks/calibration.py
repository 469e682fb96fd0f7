"""Whether the grades hold: panoptic quality of playground scenes, by grade.

Scenes of two seeds are labelled and graded. A calibrated checkpoint has used neither seed before,
and its header holds the quality of each grade at calibration; for others, the first seed was used
to choose the thresholds in `possam_core/labels/quality.py`, and the second gives its table
EXPECTED_PQ. Prints images and PQ of each grade, and how well each measure orders the images by
their own PQ (Spearman's rank correlation). Consistency is measured on a quarter of the scenes.
Writes `build/bench/calibration.json`.

usage: python -m benchmarks.calibration [--model possam-tiny]
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.report import write_json
from possam_core.checkpoints.models import promised_grades
from possam_core.evaluation.consistency import CHANGES, is_sampled, measure_consistency
from possam_core.evaluation.measurement import annotation, image_pq
from possam_core.evaluation.panoptic_quality import (
    PanopticAnnotation,
    PanopticQualityCounts,
    count_matches,
    summarise,
)
from possam_core.labels.boundary import boundary_sharpness
from possam_core.labels.quality import EXPECTED_PQ, GRADES, Quality, assess
from possam_core.playground import PLAYGROUND, Scene, generate_scene
from possam_core.predictor import Predictor, load_predictor

OUTPUT = Path("build/bench/calibration.json")
SEEDS = (501, 502)
NUM_SCENES = 400  # of each seed
CONSISTENCY_SHARE = 0.25
MEASURES = (
    *("coverage", "mean_score", "min_score", "mean_predicted_iou", "entropy", "clip_agreement"),
    *("boundary_sharpness", "consistency"),
)


@dataclass(frozen=True, slots=True)
class Graded:
    """One labelled scene: the figures of its labels, and their matches with the truth."""

    quality: Quality
    expected_pq: float | None  # None: the model is not calibrated
    counts: PanopticQualityCounts

    @property
    def pq(self) -> float:
        """PQ of this scene alone; every scene has true segments."""
        return image_pq(self.counts) or 0.0


def label_scenes(predictor: Predictor, seed: int) -> Iterator[Graded]:
    """Label and grade the scenes of one seed."""
    for index in track(range(NUM_SCENES), f"scenes of seed {seed}", console=Console(stderr=True)):
        scene = generate_scene(seed, index)
        (segmentation,) = predictor([scene.image])
        consistency = None
        if is_sampled(f"{seed}/{index}", CONSISTENCY_SHARE):
            copies = predictor([change.apply(scene.image) for change in CHANGES])
            consistency = measure_consistency(segmentation, copies)
        sharpness = boundary_sharpness(scene.image, segmentation.runs)
        quality = assess(segmentation, boundary_sharpness=sharpness, consistency=consistency)
        expected = segmentation.expected.pq if segmentation.expected else None
        yield Graded(quality, expected, count_matches(truth_of(scene), annotation(segmentation)))


def truth_of(scene: Scene) -> PanopticAnnotation:
    """The scene as ground truth."""
    classes = PLAYGROUND.vocabulary.classes
    names = {i: classes[c].category_id for i, c in enumerate(scene.class_indices, start=1)}
    return PanopticAnnotation(ids=scene.ids, category_ids=names)


def grades_of(scenes: Sequence[Graded]) -> dict[str, dict[str, float]]:
    """Images of each grade that occurs, their PQ together, and the mean of their own PQ."""
    by_grade = defaultdict(list)
    for scene in scenes:
        by_grade[scene.quality.grade].append(scene)
    found = {}
    for grade in GRADES:
        if images := by_grade[grade]:
            counts = sum((s.counts for s in images), PanopticQualityCounts())
            found[grade] = {
                "images": len(images),
                "pq": summarise(counts, {"all": counts.per_category})["all"].pq,
                "image_pq": sum(s.pq for s in images) / len(images),
            }
    return found


def correlations_of(scenes: Sequence[Graded]) -> dict[str, float]:
    """Spearman's rank correlation of each measure with the PQ of the scene."""
    found = {}
    values_of = {name: [getattr(s.quality, name) for s in scenes] for name in MEASURES}
    values_of["expected_pq"] = [s.expected_pq for s in scenes]
    for name, values in values_of.items():
        known = [(v, s.pq) for v, s in zip(values, scenes, strict=True) if v is not None]
        if known:
            found[name] = float(spearmanr(*zip(*known, strict=True)).statistic)
    return found


def grade_table(
    grades: Mapping[int, Mapping[str, Mapping[str, float]]], expected: Mapping[str, Any]
) -> Table:
    """Images, PQ of all together, and the mean PQ of an image, beside the expected ones."""
    titles = [f"seed {seed}: images, PQ, PQ of an image" for seed in grades]
    table = Table("grade", *titles, "expected", title=f"{NUM_SCENES} scenes a seed")
    for grade in GRADES:
        found = [of_seed.get(grade) for of_seed in grades.values()]
        cells = [
            f"{g['images']:.0f}, {100 * g['pq']:.1f}, {100 * g['image_pq']:.1f}" if g else "none"
            for g in found
        ]
        shares = [expected[grade][n] for n in ("pq", "image_pq") if n in expected.get(grade, {})]
        table.add_row(grade, *cells, ", ".join(f"{100 * share:.1f}" for share in shares) or "-")
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="possam-tiny")
    model = parser.parse_args().model
    torch.set_num_threads(1)
    predictor = load_predictor(model)
    expected = promised_grades(model) or {grade: {"pq": pq} for grade, pq in EXPECTED_PQ.items()}
    seeds = {seed: list(label_scenes(predictor, seed)) for seed in SEEDS}
    grades = {seed: grades_of(scenes) for seed, scenes in seeds.items()}
    correlations = {seed: correlations_of(scenes) for seed, scenes in seeds.items()}
    ranks = Table("measure", *(f"seed {seed}" for seed in seeds), title="rank correlation with PQ")
    for name in correlations[SEEDS[0]]:
        ranks.add_row(name, *(f"{correlations[seed][name]:.2f}" for seed in seeds))
    Console().print(grade_table(grades, expected), ranks)
    write_json(
        OUTPUT,
        {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "model": model,
            "num_scenes": NUM_SCENES,
            "grades": grades,
            "correlations": correlations,
        },
    )


if __name__ == "__main__":
    main()
