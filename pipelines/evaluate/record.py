"""The figures of a measured model for programs."""

from dataclasses import asdict
from typing import Any

from pipelines.evaluate.figures import ClassFigures, Figures, ModelEvaluation
from possam_core.evaluation.reliability import NUM_BINS, Reliability


def to_record(evaluation: ModelEvaluation) -> dict[str, Any]:
    """All figures, in [0, 1]; None: nothing to measure."""
    figures = evaluation.figures
    precision = asdict(figures.average_precision)
    del precision["per_category"]  # the classes have it
    return {
        "model": {"name": evaluation.model, "sha256": evaluation.fingerprint},
        "data": asdict(evaluation.data),
        "calibration": asdict(evaluation.calibration),
        "uncalibrated": evaluation.uncalibrated,
        "semantic": {name: {"miou": miou} for name, miou in figures.mean_ious.items()},
        "instances": precision,
        "grades": [asdict(grade) for grade in evaluation.grades],
        **figures_record(figures),
    }


def figures_record(figures: Figures) -> dict[str, Any]:
    """The figures that a model and a run have, in [0, 1]."""
    measured = figures.measurement
    return {
        "vocabulary": {
            "name": figures.vocabulary.name,
            "sha256": figures.vocabulary.fingerprint,
            "num_classes": len(figures.vocabulary),
        },
        "num_images": len(measured.images),
        "panoptic": {name: asdict(quality) for name, quality in figures.quality.items()},
        "classes": [class_record(of_class) for of_class in figures.classes],
        "reliability": {n: curve_record(c) for n, c in measured.reliability.items()},
        "segment_pairs": [
            {"true": figures.name_of(true), "predicted": figures.name_of(guess), "num": n}
            for (true, guess), n in sorted(measured.segment_pairs.counts.items(), key=_by_ids)
        ],
        "images": [asdict(image) for image in sorted(measured.images, key=lambda i: i.index)],
    }


def class_record(of_class: ClassFigures) -> dict[str, Any]:
    """The figures of one class in one flat dict."""
    category, counts, quality = of_class.category, of_class.counts, of_class.quality
    occurs = bool(quality.num_classes)
    return {
        "id": category.id,
        "name": category.name,
        "kind": "thing" if category.is_thing else "stuff",
        "seen": category.is_seen,
        "pq": quality.pq if occurs else None,
        "sq": quality.sq if occurs else None,
        "rq": quality.rq if occurs else None,
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "iou": of_class.iou,
        "ap": of_class.ap,
    }


def curve_record(curve: Reliability) -> dict[str, Any]:
    """The non-empty bins, with mean claims and mean outcomes."""
    return {
        "ece": curve.expected_calibration_error,
        "bins": [
            {
                "low": i / NUM_BINS,
                "high": (i + 1) / NUM_BINS,
                "num": number,
                "claimed": curve.claimed[i] / number,
                "found": curve.found[i] / number,
            }
            for i, number in enumerate(curve.num)
            if number
        ],
    }


def _by_ids(item: tuple[tuple[int | None, int | None], int]) -> tuple[bool, int, bool, int]:
    """Sort key of a pair of category ids, None last."""
    (true, guess), _ = item
    return true is None, true or 0, guess is None, guess or 0
