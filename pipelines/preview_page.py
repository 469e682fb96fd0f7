"""One self-contained HTML page of labelled images: no server, no script or font from outside.

Axes: H W pixels of the image.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from string import Template
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from pipelines.overlay import Overlay, draw_overlay, segment_colour

Row = Mapping[str, Any]  # one image of a run, as read from Parquet

GRADES = "ABCD"
THUMBNAIL_SIDE_PX = 512
_JPEG_QUALITY = 82
_MAX_CHIPS = 14  # legend entries before the rest folds away
_MAX_FAILURES_UNFOLDED = 12  # in all; more would push the images off the screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One image without labels."""

    uri: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverview:
    """What the head of the page says about the whole run."""

    run: str
    num_per_grade: Mapping[str, int]  # labelled images
    num_per_error: Mapping[str, int]  # images without labels, by code
    failures: Sequence[Failure]  # some or all of them
    provenance: Mapping[str, str]

    @property
    def num_labelled(self) -> int:
        """Images with labels."""
        return sum(self.num_per_grade.values())

    @property
    def num_errors(self) -> int:
        """Images without labels."""
        return sum(self.num_per_error.values())


def make_page(overview: RunOverview, cards: Sequence[str]) -> str:
    """The whole page; `cards` come from `make_card`, worst first."""
    totals = {
        "Images": overview.num_labelled + overview.num_errors,
        "Labelled": overview.num_labelled,
        "Errors": overview.num_errors,
    }
    totals |= {f"Grade {grade}": overview.num_per_grade.get(grade, 0) for grade in GRADES}
    return Template(_page_template()).substitute(
        title="PosSAM preview",
        run=_text(overview.run),
        totals=_definitions({name: f"{count:,}" for name, count in totals.items()}),
        bar="".join(
            f'<span class="grade-{grade}" style="flex:{count}"></span>'
            for grade in GRADES
            if (count := overview.num_per_grade.get(grade, 0))
        ),
        provenance=_definitions(overview.provenance),
        failures=_failures(overview),
        note=_note(len(cards), overview.num_labelled),
        filters="".join(
            f'<label><input type="checkbox" data-shows="{grade}" checked> {grade}</label>'
            for grade in GRADES
        ),
        cards="\n".join(cards),
    )


def make_card(row: Row, pixels: UInt8[ndarray, "H W 3"] | None) -> str:
    """One image with its overlay and legend; `pixels` is None if the image is gone since."""
    segments, quality = row["segments_info"], row["quality"]
    overlay = draw_overlay(segments, (row["height"], row["width"]), max_side_px=THUMBNAIL_SIDE_PX)
    name = _text(PurePosixPath(row["uri"]).name or row["uri"])
    facts = (
        f"mean score {quality['mean_score']:.2f} · {quality['num_things']} things ·"
        f" {quality['num_stuff']} stuff · {quality['void_frac']:.0%} void ·"
        f" {row['width']}&nbsp;&times;&nbsp;{row['height']}"
    )
    reasons = ", ".join(quality["reasons"] or ()).replace("_", " ")
    grade = _text(quality["grade"])
    return f"""<article class="card" data-grade="{grade}">
<div class="frame">{_picture(row, pixels, overlay)}</div>
<div class="about">
<h3><span class="path" title="{_text(row["uri"])}">{name}</span>
<span class="grade grade-{grade}" title="grade {grade}">{grade}</span></h3>
<p class="soft">{facts}</p>
{f'<p class="soft">{_text(reasons)}</p>' if reasons else ""}
{_legend(segments)}
</div>
</article>"""


def _picture(row: Row, pixels: UInt8[ndarray, "H W 3"] | None, overlay: Overlay) -> str:
    name = _text(row["uri"])
    photo = (
        f'<img class="photo" alt="{name}" src="{_jpeg_uri(pixels)}">' if pixels is not None else ""
    )
    note = "" if photo else '<span class="note">the image can no longer be read</span>'
    tags = "".join(
        f'<span style="--x:{100 * tag.x:.1f}%;--y:{100 * tag.y:.1f}%">'
        f"{tag.segment_id} {_text(tag.name)}</span>"
        for tag in overlay.name_tags
    )
    return (
        f'<button type="button" class="picture{"" if photo else " gone"}" aria-pressed="true"'
        f' aria-label="Overlay of {name}" style="--ratio:{row["width"] / row["height"]:.4f}">'
        f'{photo}<img class="overlay" alt="" src="{_png_uri(overlay.rgba)}">{note}'
        f'<span class="tags" aria-hidden="true">{tags}</span></button>'
    )


def _legend(segments: Sequence[Mapping[str, Any]]) -> str:
    ordered = sorted(segments, key=lambda s: (not s["isthing"], -s["area"]))
    chips = [_chip(segment) for segment in ordered]
    legend = f'<ul class="legend">{"".join(chips[:_MAX_CHIPS])}</ul>'
    if folded := chips[_MAX_CHIPS:]:
        legend += (
            f"<details><summary>{len(folded)} more</summary>"
            f'<ul class="legend">{"".join(folded)}</ul></details>'
        )
    return legend


def _chip(segment: Mapping[str, Any]) -> str:
    red, green, blue = segment_colour(segment)
    kind = "thing" if segment["isthing"] else "stuff"
    number = f"{segment['id']} " if segment["isthing"] else ""
    return (
        f'<li class="{kind}"><i style="background:rgb({red},{green},{blue})"></i>'
        f"{number}{_text(segment['category_name'])} <b>{segment['score']:.2f}</b></li>"
    )


def _failures(overview: RunOverview) -> str:
    if not overview.num_errors:
        return ""
    unfolded = " open" if overview.num_errors <= _MAX_FAILURES_UNFOLDED else ""
    parts = ["<h2>Images without labels, by error</h2>"]
    for code, count in sorted(overview.num_per_error.items(), key=lambda item: -item[1]):
        group = [failure for failure in overview.failures if failure.code == code]
        listed = "".join(
            f'<li><span class="path">{_text(f.uri)}</span><br>'
            f'<span class="soft">{_text(f.message)}</span></li>'
            for f in group
        )
        if count > len(group):
            listed += f"<li>and {count - len(group):,} more</li>"
        parts.append(
            f"<details{unfolded}><summary>{_text(code)} · {count:,}</summary>"
            f'<ul class="failures">{listed}</ul></details>'
        )
    return "".join(parts)


def _note(num_cards: int, num_labelled: int) -> str:
    if not num_labelled:
        return "No image of this run has labels."
    which = "Every labelled image is"
    if num_cards < num_labelled:
        which = f"The {num_cards} worst of {num_labelled:,} labelled images are"
    return f"{which} on this page. Click a picture to hide or show its overlay."


def _definitions(facts: Mapping[str, str]) -> str:
    return "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items()
    )


def _jpeg_uri(pixels: UInt8[ndarray, "H W 3"]) -> str:
    thumbnail = Image.fromarray(pixels)
    thumbnail.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
    buffer = io.BytesIO()
    thumbnail.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return _data_uri("image/jpeg", buffer)


def _png_uri(rgba: UInt8[ndarray, "H W 4"]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return _data_uri("image/png", buffer)


def _data_uri(media_type: str, buffer: io.BytesIO) -> str:
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _text(value: object) -> str:
    """Escaped for text and attributes; lone surrogates of odd file names become '?'."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def _page_template() -> str:
    return resources.files("pipelines").joinpath("preview_page.html").read_text(encoding="utf-8")
