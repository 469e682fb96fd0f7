"""Figures of a data set do not depend on how it was split."""

import json
import random
from dataclasses import replace

import pytest

from possam_core.evaluation.average_precision import average_precision
from possam_core.evaluation.measurement import Measurement, mean_image_pq, measure_image
from possam_core.evaluation.panoptic_quality import (
    category_groups,
    summarise,
    vocabulary_categories,
)
from possam_core.evaluation.semantic_quality import mean_ious
from possam_core.playground import PLAYGROUND
from possam_core.predictor import load_predictor
from possam_core.training.data.labelled import PlaygroundImages

NUM_SCENES = 9


@pytest.fixture(scope="module")
def parts() -> list[Measurement]:
    """Measurements of possam-tiny on some scenes, one by one."""
    images = PlaygroundImages(seed=9, num_scenes=NUM_SCENES, vocabulary=PLAYGROUND.vocabulary)
    predictor = load_predictor("possam-tiny")
    measured = []
    for index in range(NUM_SCENES):
        image = images.read(index)
        truth = image.annotation(images.vocabulary)
        if index % 3 == 0:  # crowds and void must not matter either
            truth = replace(truth, crowd_ids=frozenset({1}))
            truth.ids[:40] = 0
        (forms,) = predictor.forms([image.pixels])
        present = {i: c for i, c in truth.category_ids.items() if (truth.ids == i).any()}
        truth = replace(truth, category_ids=present)
        measured.append(
            measure_image(forms, truth, images.vocabulary, index=index, name=image.name)
        )
    return measured


def figures(measurement: Measurement) -> dict[str, float]:
    """Every kind of figure, flat."""
    categories = vocabulary_categories(PLAYGROUND.vocabulary, PLAYGROUND.vocabulary.seen_in(()))
    groups = category_groups(categories)
    things = [c.id for c in categories if c.is_thing]
    flat: dict[str, float | None] = {"mean": mean_image_pq(measurement.images)}
    for name, quality in summarise(measurement.segments, groups).items():
        flat |= {f"pq {name}": quality.pq, f"sq {name}": quality.sq, f"rq {name}": quality.rq}
    flat |= {f"miou {n}": v for n, v in mean_ious(measurement.pixel_pairs, groups).items()}
    ap = average_precision(measurement.instances, things)
    flat |= {"ap": ap.ap, "ap50": ap.ap50, "small": ap.small, "large": ap.large}
    flat |= {f"ece {n}": c.expected_calibration_error for n, c in measurement.reliability.items()}
    flat |= {f"pair {p}": n for p, n in measurement.segment_pairs.counts.items()}
    for grade, counts in measurement.by_grade.items():
        flat[f"pq {grade}"] = summarise(counts, groups)["all"].pq
    return {name: value for name, value in flat.items() if value is not None}


def test_any_order_and_partition_gives_the_figures_of_one_pass(parts: list[Measurement]) -> None:
    one_pass = figures(sum(parts, Measurement()))
    assert one_pass["pq all"] > 0.2
    assert one_pass["ap"] > 0.1
    assert one_pass["miou all"] > 0.3
    rng = random.Random(1)
    for num_shares in (1, 2, 4, NUM_SCENES):
        shuffled = rng.sample(parts, len(parts))
        shares = [sum(shuffled[i::num_shares], Measurement()) for i in range(num_shares)]
        assert figures(sum(shares, Measurement())) == pytest.approx(one_pass, abs=1e-12, rel=0)


def test_a_part_survives_json_unchanged(parts: list[Measurement]) -> None:
    for part in (parts[0], sum(parts[:5], Measurement()), Measurement()):
        assert Measurement.from_json(json.loads(json.dumps(part.to_json()))) == part


def test_each_image_has_its_own_result(parts: list[Measurement]) -> None:
    total = sum(parts, Measurement())
    assert [image.index for image in total.images] == list(range(NUM_SCENES))
    assert all(0 <= (image.pq or 0) <= 1 for image in total.images)
    assert {image.grade for image in total.images} == set(total.by_grade)
