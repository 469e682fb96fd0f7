"""Tests of pipelines.stats.count and pipelines.stats.statistics."""

import itertools
import json

import pyarrow as pa
import pytest

from pipelines.schema import ROW_SCHEMA
from pipelines.stats import Statistics, make_tables, shard_statistics

BALL = {"category_id": 1, "category_name": "ball"}
LAWN = {"category_id": 9, "category_name": "lawn", "is_thing": False, "is_seen": False}
SMALL, MEDIUM, LARGE = 1000, 9200, 9300  # 32 x 32 is 1,024 pixels, 96 x 96 is 9,216


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=ROW_SCHEMA)


@pytest.fixture
def rows(make_row, make_error):
    """Two images with balls and lawn, one of a ball alone, one of nothing, and two errors."""
    unsure = {"score": 0.25, "clip_agrees": False}
    return [
        make_row("a", [SMALL, MEDIUM, LARGE], [BALL, BALL | unsure, LAWN], consistency=0.5),
        make_row("b", [LARGE, SMALL], [LAWN | {"score": 0.75}, BALL]),
        make_row("c", [MEDIUM], [BALL]),
        make_row("d", []),
        make_error("e", "empty"),
        make_error("f", "truncated"),
    ]


def test_images_errors_and_grades_are_counted(rows) -> None:
    judgements = [("A", []), ("B", ["low_score"]), ("B", ["much_void", "low_score"])]
    for row, (grade, reasons) in zip(rows, judgements, strict=False):
        row["quality"] |= {"grade": grade, "reasons": reasons}
    found = shard_statistics(table(*rows))
    assert (found.num_images, found.num_ok, found.num_corrected) == (6, 4, 0)
    assert found.errors == {"empty": 1, "truncated": 1}
    assert found.grades == {"A": 1, "B": 2, "D": 1}
    assert found.reasons == {
        ("B", "low_score"): 2,
        ("B", "much_void"): 1,
        ("D", "no_segments"): 1,
    }


def test_segments_are_counted_by_class_and_size(rows) -> None:
    found = shard_statistics(table(*rows))
    counts = {(c.name, size): f.num_segments for (c, size), f in found.segments.items()}
    assert counts == {
        ("ball", "small"): 2,
        ("ball", "medium"): 2,
        ("lawn", "large"): 2,
    }
    ball, lawn = found.by_class().values()
    assert (ball.area_px, lawn.area_px) == (2 * SMALL + 2 * MEDIUM, 2 * LARGE)
    assert (ball.num_seen, lawn.num_seen) == (4, 0)
    assert (ball.num_clip_agrees, lawn.num_clip_agrees) == (3, 2)
    assert lawn.measures["score"].mean == pytest.approx((0.9 + 0.75) / 2, abs=1e-6)
    assert {size: f.num_segments for size, f in found.by_size().items()} == {
        "small": 2,
        "medium": 2,
        "large": 2,
    }
    assert found.num_segments == found.all_segments().num_segments == 6


@pytest.mark.parametrize(
    ("area", "size"), [(1000, "small"), (1100, "medium"), (9200, "medium"), (9300, "large")]
)
def test_sizes_are_those_of_coco(make_row, area: int, size: str) -> None:
    (found,) = shard_statistics(table(make_row("a", [area]))).segments
    assert found[1] == size


def test_segments_are_counted_by_tenths_of_score(rows) -> None:
    bands = shard_statistics(table(*rows)).score_bands
    # 0.9 as float32 is 0.89999998.
    assert {band: f.num_segments for band, f in bands.items()} == {2: 1, 7: 1, 8: 4}
    assert bands[2].num_clip_agrees == 0


def test_classes_that_share_an_image_are_counted_once_an_image(rows) -> None:
    found = shard_statistics(table(*rows))
    assert found.pairs == {("ball", "ball"): 3, ("ball", "lawn"): 2, ("lawn", "lawn"): 2}
    assert found.num_images_with("ball") == 3
    assert found.num_images_with("chair") == 0


def test_consistency_is_that_of_the_sampled_images_alone(rows) -> None:
    images = shard_statistics(table(*rows)).images
    assert (images["consistency"].num_values, images["consistency"].mean) == (1, 0.5)
    assert images["coverage"].num_values == 4


def test_corrected_rows_are_counted(rows) -> None:
    rows[2]["quality"]["reasons"] = ["corrected"]
    assert shard_statistics(table(*rows)).num_corrected == 1


def test_shards_added_in_any_order_are_one_pass(rows) -> None:
    whole = json.dumps(shard_statistics(table(*rows)).to_json())
    shards = [table(*rows[:1]), table(*rows[1:4]), table(*rows[4:5]), table(*rows[5:])]
    parts = [shard_statistics(shard) for shard in shards]
    for order in itertools.permutations(parts):
        assert json.dumps(sum(order, Statistics()).to_json()) == whole
    assert json.dumps(((parts[0] + parts[1]) + (parts[2] + parts[3])).to_json()) == whole


def test_json_gives_the_same_statistics_back(rows) -> None:
    found = shard_statistics(table(*rows))
    assert Statistics.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_no_rows_and_no_segments_have_statistics(make_row, make_error) -> None:
    nothing = shard_statistics(table())
    assert (nothing.num_images, nothing.num_segments, nothing.pairs) == (0, 0, {})
    failed = shard_statistics(table(make_error("a", "empty")))
    assert failed.errors == {"empty": 1}
    assert nothing + failed == failed
    bare = shard_statistics(table(make_row("a", [])))
    assert (bare.num_ok, bare.by_class()) == (1, {})


def test_tables_say_the_same_with_means_and_quantiles(rows) -> None:
    tables = make_tables(shard_statistics(table(*rows)))
    ball, lawn = tables["classes"].to_pylist()
    assert (ball["category_name"], ball["num_images"], ball["num_segments"]) == ("ball", 3, 4)
    assert ball["clip_agreement"] == 0.75
    assert lawn["score_mean"] == pytest.approx(0.825, abs=1e-6)
    assert [row["size"] for row in tables["sizes"].to_pylist()] == ["small", "medium", "large"]
    assert tables["errors"].to_pylist() == [
        {"error_code": "empty", "num_images": 1},
        {"error_code": "truncated", "num_images": 1},
    ]
    grades = tables["grades"].to_pylist()
    assert sum(row["num_images"] for row in grades if row["reason"] is None) == 4


def test_histograms_are_grouped_by_class_size_and_score(rows) -> None:
    bins = make_tables(shard_statistics(table(*rows)))["histograms"].to_pylist()

    def counts(of: str, by: str | None, measure: str) -> dict[tuple[str | None, float], int]:
        chosen = (r for r in bins if (r["of"], r["by"], r["measure"]) == (of, by, measure))
        return {(r["group"], r["from"]): r["count"] for r in chosen}

    # Four balls, one of them with a score of 0.25, and two lawns, one of them with 0.75; the others
    # have 0.9, which is a little less as a float32.
    assert counts("segment", None, "score") == {(None, 0.25): 1, (None, 0.75): 1, (None, 0.89): 4}
    assert counts("segment", "class", "score") == {
        ("ball", 0.25): 1,
        ("ball", 0.89): 3,
        ("lawn", 0.75): 1,
        ("lawn", 0.89): 1,
    }
    assert counts("segment", "size", "score") == {
        ("small", 0.89): 2,
        ("medium", 0.25): 1,
        ("medium", 0.89): 1,
        ("large", 0.75): 1,
        ("large", 0.89): 1,
    }
    assert counts("segment", "score", "score") == {
        ("0.2", 0.25): 1,
        ("0.7", 0.75): 1,
        ("0.8", 0.89): 4,
    }
    # Three labelled images were not sampled for it.
    assert counts("image", None, "consistency") == {(None, 0.5): 1, (None, None): 3}
    assert not counts("image", "class", "consistency")


UNKNOWN = {"predicted_iou": None, "margin": None, "clip_agrees": None, "is_seen": None}


def test_what_is_not_known_is_left_out_of_means_and_counted(make_row) -> None:
    """Two balls: one with an IoU of 0.5 whose class CLIP shares, one of which neither is known."""
    known = {"predicted_iou": 0.5, "clip_agrees": True, "is_seen": True}
    rows = table(make_row("a", [SMALL, SMALL], [BALL | known, BALL | UNKNOWN]))
    figures = shard_statistics(rows).all_segments()
    assert figures.measures["predicted_iou"].mean == 0.5
    assert (figures.clip_agreement, figures.seen_share) == (1.0, 1.0)
    assert figures.num_unknown() == {
        **{"score": 0, "predicted_iou": 1, "margin": 1, "stability_score": 0, "entropy": 0},
        **{"clip_agrees": 1, "is_seen": 1},
    }


def test_a_measure_that_is_known_of_nothing_has_no_mean_and_no_share(make_row) -> None:
    unknown = UNKNOWN | {"entropy": None}
    found = shard_statistics(table(make_row("a", [SMALL], [BALL | unknown])))
    assert Statistics.from_json(json.loads(json.dumps(found.to_json()))) == found
    tables = make_tables(found)
    (ball,) = tables["classes"].to_pylist()
    assert (ball["seen_share"], ball["clip_agreement"], ball["predicted_iou_mean"]) == (None,) * 3
    assert (ball["predicted_iou_unknown"], ball["score_unknown"]) == (1, 0)
    images = {row["measure"]: row for row in tables["images"].to_pylist()}
    for name in ("mean_predicted_iou", "entropy", "clip_agreement"):
        row = images[name]
        assert (row["num_images"], row["num_unknown"], row["mean"]) == (0, 1, None)
    bins = [r for r in tables["histograms"].to_pylist() if r["measure"] == "margin"]
    assert bins
    assert {(r["from"], r["to"], r["count"]) for r in bins} == {(None, None, 1)}
