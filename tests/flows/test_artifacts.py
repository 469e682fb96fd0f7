"""What the UI shows of a labelled run, from figures worked out by hand."""

from flows.artifacts import class_table, counts, overview_table, report_text
from pipelines.report.thumbnails import Thumbnail
from pipelines.stats import Statistics
from pipelines.stats.histogram import Histogram
from pipelines.stats.statistics import SegmentClass, SegmentFigures

BALL, GRASS = (SegmentClass(id=i, name=n, is_thing=i == 1) for i, n in ((1, "ball"), (2, "grass")))


def one_score(value_in_halves: int) -> Histogram:
    """One value, of 0.5 or 1.0."""
    return Histogram(counts=(0,) * 99 + (1,), sum_units=value_in_halves * 2**23)


STATISTICS = Statistics(
    num_images=4,
    num_ok=2,
    errors={"empty": 1, "truncated": 1},
    grades={"A": 1, "C": 1},
    images={"mean_score": one_score(1)},
    segments={
        (BALL, "small"): SegmentFigures(
            num_segments=1, area_px=25, measures={"score": one_score(2)}
        ),
        (GRASS, "large"): SegmentFigures(
            num_segments=3, area_px=75, measures={"score": one_score(1)}
        ),
    },
    pairs={("ball", "ball"): 1, ("grass", "grass"): 2, ("ball", "grass"): 1},
)


def test_counts_are_plain_data_for_events() -> None:
    assert counts(STATISTICS) == {
        "images": 4,
        "ok": 2,
        "errors": {"empty": 1, "truncated": 1},
        "segments": 4,
        "grades": {"A": 1, "C": 1},
        "mean_score": 0.5,
        "mean_grade": 3.0,
    }


def test_the_overview_has_a_row_for_every_error_and_grade() -> None:
    rows = {row["figure"]: row["value"] for row in overview_table(STATISTICS)}
    assert rows["errors"] == "2 (50.0%)"
    assert (rows["error empty"], rows["grade A"], rows["mean score"]) == ("1", "1", "0.500")


def test_classes_come_by_their_number_of_segments() -> None:
    grass, ball = class_table(STATISTICS)
    assert grass == {
        "class": "grass",
        "kind": "stuff",
        "segments": 3,
        "images": 2,
        "share of area": "75.0%",
        "mean score": "0.500",
    }
    assert (ball["class"], ball["kind"], ball["images"]) == ("ball", "thing", 1)


def test_the_report_says_what_to_do_about_errors_and_shows_pictures() -> None:
    names = ["a](b)|c\n.jpg", "b.jpg", "c.jpg", "d.jpg"]
    pictures = [Thumbnail(name=name, grade="C", jpeg=b"\xff\xd8") for name in names]
    text = report_text(
        STATISTICS, pictures, title="The corpus", page="/run/index.html", shortfalls=["too bad"]
    )
    image = "(data:image/jpeg;base64,/9g=)"
    assert text.startswith(f"""# The corpus

**It does not pass:**

- too bad

| a__b__c_.jpg: C | b.jpg: C | c.jpg: C |
| --- | --- | --- |
| ![a__b__c_.jpg]{image} | ![b.jpg]{image} | ![c.jpg]{image} |
| d.jpg: C |  |  |
| ![d.jpg]{image} |  |  |

2 of 4 images are labelled, with 4 segments. Grades: A: 1, C: 1.
""")
    assert "| `empty` | 1 | upload the file again, for it has no bytes;" in text
    assert text.endswith("Every image, worst first: `/run/index.html`")


def test_a_run_whose_grades_promise_nothing_is_shown_without_grades() -> None:
    reason = "its images are unlike those that the model was calibrated with"
    shown = STATISTICS.without_grades()
    assert counts(shown)["grades"] == {"uncalibrated": 2}
    assert counts(shown)["mean_grade"] is None
    rows = {row["figure"]: row["value"] for row in overview_table(shown, reason)}
    assert rows["grades"].startswith(f"not calibrated here: {reason}; ")
    assert (rows["grade uncalibrated"], rows["mean grade (4 is A, 1 is D)"]) == ("2", "-")
    text = report_text(shown, [], title="The corpus", page="/p", shortfalls=[], uncalibrated=reason)
    assert f"**Its grades are not calibrated here: {reason}; " in text
    assert "Grades: uncalibrated: 2." in text
