"""What the user reads when a run ends."""

from dataclasses import asdict, fields
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.label.session import LabelReport
from pipelines.run.grading import UNCALIBRATED, standing
from pipelines.run.manifest import Totals
from possam_core.errors import counted

MAX_OPEN_SHOWN = 10


def summarise(report: LabelReport) -> RenderableType:
    """The table of a finished run, or what is open and how to go on."""
    if report.manifest is None:
        return _open_note(report)
    if report.is_rerun:
        first = f"nothing is left to do: all {report.manifest.totals.images:,} images are done"
    else:
        first = f"labelled {counted(report.num_images, 'image')} in {report.seconds:.1f} s"
    return Group(
        Text(first),
        *(Text(note) for note in _notes(report)),
        *([Text(standing(report.uncalibrated))] if report.uncalibrated else []),
        _totals_table(report, report.manifest.totals),
        Text(f"labels    {report.location}/data", overflow="fold"),
        Text(f"manifest  root hash {report.manifest.root_hash[:16]}"),
        Text(f"next      possam report {report.location}", overflow="fold"),
    )


def to_record(report: LabelReport) -> dict[str, Any]:
    """The same for programs; `totals` and `root_hash` are null while shards are open."""
    content = {f.name: getattr(report, f.name) for f in fields(report) if f.name != "manifest"}
    manifest = report.manifest
    return {
        **content,
        "is_complete": manifest is not None,
        "totals": None if manifest is None else asdict(manifest.totals),
        "root_hash": None if manifest is None else manifest.root_hash,
    }


def why_open(report: LabelReport) -> str:
    """One sentence about a run that is not complete."""
    first = min(report.open_shards)
    cause = report.failure or f"shard {first}: {report.open_shards[first]}"
    return (
        f"expected every shard of {report.location} to be committed, but"
        f" {len(report.open_shards):,} of {report.num_shards:,} are open ({cause}); start it again,"
        " it does only those"
    )


def _notes(report: LabelReport) -> list[str]:
    """Sentences about the workers, repeated work, halved batches and the bottleneck."""
    notes = []
    if report.how:
        notes.append(f"{counted(report.num_workers, 'worker')} {report.how}")
    if report.num_images_twice:
        notes.append(f"{report.num_images_twice:,} of them another run had committed first")
    if report.num_halvings:
        notes.append(f"memory ran out {report.num_halvings:,} times; the batch was halved")
    if report.bottleneck:
        notes.append(report.bottleneck)
    return notes


def _totals_table(report: LabelReport, totals: Totals) -> Table:
    table = Table("", "", show_header=False, title="Run", title_justify="left")
    table.columns[1].justify = "right"
    table.add_row("images", f"{totals.images:,}")
    table.add_row("ok", f"{totals.ok:,}")
    table.add_row("errors", f"{totals.images - totals.ok:,}")
    for code, count in totals.errors.items():
        table.add_row(f"  {code}", f"{count:,}")
    table.add_row("segments", f"{totals.segments:,}")
    table.add_row("  things", f"{totals.things:,}")
    table.add_row("  stuff", f"{totals.stuff:,}")
    table.add_row("mean score", "-" if totals.mean_score is None else f"{totals.mean_score:.3f}")
    table.add_row("grades", _grades(report, totals) or "-")
    if not report.is_rerun:
        table.add_row("seconds", f"{report.seconds:.1f}")
        table.add_row("  start-up", f"{report.startup_seconds:.1f}")
        rate = report.images_per_s
        table.add_row("images/s", "-" if rate is None else f"{rate:.1f}")
    return table


def _grades(report: LabelReport, totals: Totals) -> str:
    if report.uncalibrated is not None and totals.ok:
        return f"{UNCALIBRATED} {totals.ok:,}"
    return ", ".join(f"{grade} {count:,}" for grade, count in totals.grades.items())


def _open_note(report: LabelReport) -> RenderableType:
    shown = sorted(report.open_shards.items())[:MAX_OPEN_SHOWN]
    lines = [
        f"{counted(report.num_images, 'image')} labelled, {len(report.open_shards):,} of"
        f" {counted(report.num_shards, 'shard')} still open"
    ]
    if report.failure:
        lines.append(f"the job ended early: {report.failure}")
    lines += [f"  shard {shard}: {problem}" for shard, problem in shown]
    if len(report.open_shards) > len(shown):
        lines.append(f"  and {len(report.open_shards) - len(shown):,} more")
    lines += _notes(report)
    lines.append("run the same command again: it does only what is open")
    return Text("\n".join(lines), overflow="fold")
