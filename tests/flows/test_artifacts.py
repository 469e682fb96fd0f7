from datetime import UTC, datetime, timedelta

from flows.artifacts import class_table, counts, overview_table, report_text
from flows.progress import Workforce, figures
from pipelines.monitor.pace import Pace
from pipelines.monitor.status import RoundStatus, RunStatus
from pipelines.report.thumbnails import Thumbnail
from pipelines.settings.prices import PriceConfig
from pipelines.stats import Statistics
from pipelines.stats.histogram import Histogram
from pipelines.stats.statistics import SegmentClass, SegmentFigures

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
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


def make_status(num_committed: int) -> RunStatus:
    """A run of 400 images in 4 shards, at 50 images/s."""
    corpus = RoundStatus(
        round=0,
        codes=(),
        num_images=400,
        num_shards=4,
        num_committed_images=100 * num_committed,
        num_committed_shards=num_committed,
        num_started_shards=0,
        suspects=(),
    )
    pace = Pace(
        first_commit=None,
        last_commit=None,
        images_per_s=40.0,
        images_per_s_now=50.0,
        seconds_left=2.0 * (4 - num_committed),
    )
    return RunStatus(
        location="/run",
        time=NOON,
        plan_id="p",
        state="running",
        rounds=(corpus,),
        num_bytes=2_500_000,
        expected_bytes=None,
        pace=pace,
        workers=(),
        root_hash=None,
    )


def test_progress_says_how_far_how_fast_how_long_and_what_it_has_cost() -> None:
    workforce = Workforce(
        num_workers=8, gpus_per_worker=0.5, prices=PriceConfig(currency="EUR", worker_hour=1.2)
    )
    assert figures(make_status(1), workforce, since=NOON - timedelta(minutes=15)) == {
        "state": "running",
        "shards": "1 of 4",
        "images": "100 of 400 (25.0%)",
        "images/s": "50.0",
        "time left": "0:00:06",
        "labels": "2.5 MB",
        "worker-hours": "2.00",
        "GPU-hours": "1.00",
        "cost so far": "2.40 EUR",
    }


def test_hours_are_not_guessed_where_the_cluster_decides_on_the_workers() -> None:
    unknown = Workforce(num_workers=None, gpus_per_worker=1)
    shown = figures(make_status(4), unknown, since=NOON)
    assert shown["time left"] == "0:00:00"
    assert not {"worker-hours", "GPU-hours", "cost so far"} & set(shown)


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
