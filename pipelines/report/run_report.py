"""`possam report`: a run, worst images first, as a folder that opens in a browser."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
from rich.console import Console

from pipelines.bars import bars
from pipelines.reader import LabelledRun, open_run
from pipelines.report.index import RunIndex, candidates, measures
from pipelines.report.photographs import Photographs
from pipelines.report.picture import DRAWN_SINCE, Subject, draw_pictures
from pipelines.report.selection import Candidate, Selection
from pipelines.report.viewer import Head, Measure, Order, ViewerWriter
from pipelines.run.committed import read_rows
from pipelines.run.folder import RunFolder, shard_key
from pipelines.run.grading import UNCALIBRATED, standing
from pipelines.run.parts import read_shard
from pipelines.run.plan import TeacherRecord
from pipelines.schema import is_labelled, to_rows
from possam_core.errors import ConfigError, counted
from possam_core.labels.quality import GRADES

MAX_IMAGES = 2000  # that have a picture: about 80 MB
CHARTS = ("mean_score", "void_frac", "num_segments")
FACTS = (
    ("mean_score", "score {}"),
    ("void_frac", "void {}"),
    ("num_segments", "{} segments"),
)


def write_report(
    run: str,
    output: str | None = None,
    *,
    max_images: int = MAX_IMAGES,
    allowed_hosts: Sequence[str] = (),
    console: Console | None = None,
) -> str:
    """Write the report into `output`, or `report/` in the run; return the address of its page.

    Args:
        run: location of the run, local or `s3://`.
        output: the folder to write, local or `s3://`.
        max_images: pictures at most, half of them of the worst images; the index lists all.
        allowed_hosts: hosts that images with web addresses may be read from.
        console: where to show progress.

    Raises:
        ConfigError: there is no run with labels, or the report cannot be written.

    Example:
        >>> from pipelines import write_report
        >>> write_report("run", "page").endswith("page/index.html")
        True
    """
    if max_images < 1:
        raise ConfigError(f"max_images must be at least 1, got {max_images}; leave it out")
    opened = open_run(run)
    writer = ViewerWriter(output or f"{opened.location}/report")
    index, selection = RunIndex(base_of(opened), opened.uncalibrated), Selection(size=max_images)
    with bars(console=console) as progress:
        for shard in progress.track(opened.shards(), description="reading labels"):
            rows = opened.read_shard(shard)
            found = candidates(
                rows,
                first_row=index.num_rows,
                shard=shard,
                uncalibrated=opened.uncalibrated,
            )
            selection.add(found)
            writer.add_rows(index.add(rows))
        chosen = [candidate for candidate, _ in selection.chosen()]
        marks = [_mark(opened, candidate) for candidate in chosen]
        taken = writer.take_over({mark: place for place, mark in enumerate(marks)})
        task = progress.add_task("drawing", total=len(chosen), completed=len(taken))
        photographs = Photographs(allowed_hosts)
        for shard, places in by_shard(chosen, without=taken).items():
            subjects = _subjects(opened, opened.read_shard(shard), shard, places)
            for place, picture in draw_pictures(subjects, photographs):
                writer.add_picture(place, picture | {"mark": marks[place]})
                progress.advance(task)
        if photographs.note:
            progress.console.print(photographs.note, markup=False, soft_wrap=True)
        return writer.finish(_head(opened, index, selection, photographs))


def by_shard(
    chosen: Sequence[Candidate], *, without: Collection[int] = ()
) -> dict[int, dict[int, Candidate]]:
    """The chosen candidates by shard and by place, but for some places."""
    shards: defaultdict[int, dict[int, Candidate]] = defaultdict(dict)
    for place, candidate in enumerate(chosen):
        if place not in without:
            shards[candidate.shard][place] = candidate
    return dict(sorted(shards.items()))


def base_of(run: LabelledRun) -> str:
    """The common prefix of most uris of a run."""
    return run.plan.settings.images.rstrip("/") + "/"


def orders(
    first: Order, measures: Sequence[Measure], facets: Sequence[str] = ()
) -> tuple[Order, ...]:
    """`first`, then each measure ascending, then the names of facets, and of images."""
    by_measure = (Order(label=measure.label, by=((measure.key, 1),)) for measure in measures)
    by_name = (Order(label=name, by=((name, 1),)) for name in (*facets, "name"))
    return (first, *by_measure, *by_name)


def provenance_of(run: LabelledRun) -> tuple[tuple[str, str], ...]:
    """Where the labels come from, for people to read."""
    plan, settings = run.plan, run.plan.settings
    first = read_rows(RunFolder(run.location), shard_key(run.shards()[0]))
    version = (first.schema.metadata or {}).get(b"possam_version", b"of an unknown version")
    return (
        ("Images", settings.images),
        ("Model", f"{settings.model} (sha256 {settings.model_sha256})"),
        *_teacher_facts(settings.teacher),
        ("Vocabulary", f"{settings.vocabulary} (sha256 {settings.vocabulary_sha256})"),
        (
            "Plan",
            f"{plan.plan_id}: {counted(plan.num_images, 'image')}"
            f" in {counted(plan.num_shards, 'shard')}",
        ),
        ("Made by", f"possam {version.decode()}"),
        ("Row schema", run.plan.schema_version),
        ("Grades", standing(run.uncalibrated)),
    )


def _teacher_facts(teacher: TeacherRecord | None) -> Iterator[tuple[str, str]]:
    if teacher is not None:
        yield "Teacher", teacher.text
        yield "Files of the teacher", teacher.files_text


def _mark(run: LabelledRun, candidate: Candidate) -> str:
    """Another one if the picture would be another: of other labels, or drawn in another way.

    Of one plan and image the numbers that were measured tell labels apart; corrections, which may
    keep them all, have a time.
    """
    corrected = run.corrections.get(candidate.image_id)
    parts = (
        DRAWN_SINCE,
        run.plan.plan_id,
        candidate.image_id,
        candidate.mark,
        "" if corrected is None else corrected.corrected_at.isoformat(),
    )
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _subjects(
    run: LabelledRun, rows: pa.Table, shard: int, places: dict[int, Candidate]
) -> list[Subject]:
    planned = {image.image_id: image for image in read_shard(RunFolder(run.location), shard)}
    positions = [candidate.position for candidate in places.values()]
    found = to_rows(rows.take(positions))
    return [
        Subject(place=place, image=planned[row["image_id"]], layers=(row,))
        for place, row in zip(places, found, strict=True)
        if is_labelled(row)  # as all candidates are
    ]


def _warnings(run: LabelledRun, photographs: Photographs) -> Iterator[str]:
    if run.uncalibrated is not None:
        yield standing(run.uncalibrated)
    if photographs.note:
        yield photographs.note


def _grade_totals(index: RunIndex) -> Iterator[tuple[str, int]]:
    """Of every grade, or, where the model's are not calibrated, of those that are shown."""
    for grade in index.grades:
        number = index.num_per_grade[grade]
        if index.grades == GRADES or number:
            yield "Uncalibrated" if grade == UNCALIBRATED else f"Grade {grade}", number


def _head(
    run: LabelledRun, index: RunIndex, selection: Selection, photographs: Photographs
) -> Head:
    chosen = selection.chosen()
    counts = index.num_per_grade
    totals = {
        "Images": index.num_rows,
        "Labelled": selection.num_seen,
        "Errors": index.num_rows - selection.num_seen,
        **dict(_grade_totals(index)),
    }
    if run.corrections:
        totals["Corrected by people"] = len(run.corrections)
    return Head(
        title="PosSAM report",
        subtitle=run.location,
        base=index.base,
        measures=measures(),
        facets=index.facets(with_pictures=not selection.is_all),
        orders=orders(
            Order(label="worst first", by=(("grade", -1), ("mean_score", 1))),
            measures(),
            facets=("class", "error"),
        ),
        charts=CHARTS,
        badges=("grade", "error"),
        facts=FACTS,
        totals=[(name, f"{count:,}") for name, count in totals.items()],
        bar=[(grade, counts[grade]) for grade in index.grades if counts[grade]],
        notes=(*_warnings(run, photographs), selection.describe()),
        errors=index.errors(),
        provenance=provenance_of(run),
        pictures=[candidate.row for candidate, _ in chosen],
        picture_kinds=[kind for _, kind in chosen],
    )
