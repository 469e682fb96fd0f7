"""Tests of pipelines.report: the folder that `possam report` writes."""

import base64
import io
import re
import shutil
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipelines.cli.command import app
from pipelines.corpus.image import InputImage
from pipelines.fetch.image_reader import ImageReader
from pipelines.report import viewer, write_report
from pipelines.report.photographs import Photographs
from pipelines.run.committed import CORRECTION_SCHEMA, read_rows
from pipelines.run.folder import SCHEMA_VERSION, RunFolder, correction_key, shard_key
from possam_core.errors import ConfigError
from tests.pipelines.report.hand_made import TRUNCATED, Labels, halves, write_run
from tests.pipelines.report.reading import read_call, read_column, read_head, read_pictures

SCORES = {"a.png": 0.5, "b.png": 0.875, "c.png": 0.25, "d.png": 0.75}


@pytest.fixture
def run(tmp_path):
    labels = {name: halves("cat", "sky", score=score) for name, score in SCORES.items()}
    return write_run(tmp_path, labels | {"e.png": TRUNCATED}, shard_size=2)


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_the_report_lies_in_the_run_unless_an_output_is_given(run, tmp_path):
    assert write_report(run) == f"{run}/report/index.html"
    elsewhere = tmp_path / "a" / "b"
    assert write_report(run, str(elsewhere)) == f"{elsewhere}/index.html"
    for path in elsewhere.rglob("*.*"):
        assert (
            path.read_bytes() == (Path(run) / "report" / path.relative_to(elsewhere)).read_bytes()
        )


def test_the_index_lists_every_row_and_pictures_come_worst_first(run, tmp_path):
    folder = Path(write_report(run)).parent
    names = read_column(folder, "names")
    assert names == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert read_column(folder, "mean_score") == [0.5, 0.875, 0.25, 0.75, None]
    head = read_head(folder)
    assert [names[row] for row in head["pictures"]] == ["c.png", "a.png", "d.png", "b.png"]
    pictures = read_pictures(folder)
    assert [p["layers"][0]["segments"][0][2] for p in pictures] == [0.25, 0.5, 0.75, 0.88]


def test_the_head_counts_images_errors_and_grades_and_says_where_labels_come_from(run):
    head = read_head(Path(write_report(run)).parent)
    totals = dict(head["totals"])
    assert (totals["Images"], totals["Labelled"], totals["Errors"]) == ("5", "4", "1")
    assert [totals[f"Grade {grade}"] for grade in "ABCD"] == ["2", "0", "1", "1"]
    assert head["errors"] == [
        {"code": "truncated", "count": 1, "samples": [["e.png", "it ends after 3 bytes"]]}
    ]
    provenance = dict(head["provenance"])
    assert provenance["Model"] == "the <model> (sha256 12)"
    assert provenance["Made by"] == "possam 0.1.2"
    assert provenance["Plan"].endswith("5 images in 3 shards")


def test_photograph_and_overlay_are_pictures_of_one_shape_that_can_be_laid_over_each_other(run):
    picture = read_pictures(Path(write_report(run)).parent)[0]
    photo, overlay = decoded(picture["photo"]), decoded(picture["layers"][0]["overlay"])
    assert photo.size == (64, 48)
    assert overlay.size == (384, 288)
    assert picture["ratio"] == 1.3333
    alpha = np.asarray(overlay.convert("RGBA"))[..., 3]
    assert alpha[144, 350] == 105  # stuff on the right, paler than
    assert alpha[144, 100] == 130  # the thing on the left
    thing, stuff = picture["layers"][0]["segments"]
    assert thing == [1, "cat", 0.25, thing[3], True]
    assert "#{:02x}{:02x}{:02x}".format(*overlay.getpixel((100, 144))[:3]) == thing[3]
    assert stuff[1] == "sky"
    assert picture["layers"][0]["tags"][0][2] == "1 cat"


def test_only_some_images_get_a_picture_where_there_are_too_many_and_the_page_says_which(run):
    folder = Path(write_report(run, max_images=2)).parent
    head = read_head(folder)
    assert len(read_column(folder, "names")) == 5
    assert head["pictures"][0] == 2  # the worst
    assert len(head["pictures"]) == len(read_pictures(folder)) == 2
    assert head["picture_kinds"] == [0, 1]
    assert (
        "2 have a picture: the 1 worst and 1 drawn at random from the other 3" in head["notes"][0]
    )
    assert "picture" in [facet["key"] for facet in head["facets"]]


def test_pages_hold_a_few_pictures_and_those_of_an_earlier_report_go(run, monkeypatch):
    monkeypatch.setattr(viewer, "PAGE_SIZE", 1)
    monkeypatch.setattr(viewer, "INDEX_ROWS", 2)
    data = Path(write_report(run)).parent / "data"
    assert len(list(data.glob("page-*.js"))) == 4
    assert len(list(data.glob("index-*.js"))) == 3
    (data / "notes.txt").write_text("mine")
    monkeypatch.undo()
    write_report(run)
    names = sorted(path.name for path in data.iterdir())
    assert names == ["head.js", "index-00000.js", "notes.txt", "page-00000.js"]


def test_an_image_that_is_gone_or_changed_since_shows_its_overlay_alone(run):
    images = Path(run).parent / "images"
    (images / "a.png").unlink()
    (images / "b.png").write_bytes(b"other")
    pictures = read_pictures(Path(write_report(run)).parent)
    assert [p["photo"] is None for p in pictures] == [False, True, False, True]
    assert all(p["layers"][0]["overlay"] for p in pictures)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_second_report_takes_over_the_pictures_of_the_first_and_is_the_same(run):
    report = Path(write_report(run)).parent
    first = files_of(report)
    shutil.rmtree(Path(run).parent / "images")  # so that nothing can be drawn again
    write_report(run)
    assert files_of(report) == first


def test_a_picture_that_is_damaged_or_has_no_photograph_is_drawn_again(run, monkeypatch):
    monkeypatch.setattr(viewer, "PAGE_SIZE", 2)
    report = Path(write_report(run)).parent
    first = files_of(report)
    whole = first["data/page-00000.js"]
    (report / "data/page-00000.js").write_bytes(whole[: len(whole) - 200])  # in its second picture
    images, elsewhere = Path(run).parent / "images", Path(run).parent / "elsewhere"
    images.rename(elsewhere)
    pictures = read_pictures(Path(write_report(run)).parent)
    assert [p["photo"] is None for p in pictures] == [False, True, False, False]
    (note,) = (note for note in read_head(report)["notes"] if "could not be read" in note)
    assert note.startswith("1 photograph could not be read (the first: ")
    elsewhere.rename(images)
    write_report(run)
    assert files_of(report) == first


def test_a_store_that_gives_no_image_is_asked_once_and_the_page_says_why(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    photographs = Photographs()
    images = [
        InputImage(image_id=str(i), uri=f"s3://gone/{i}.jpg", size=None, etag=None)
        for i in range(50)
    ]
    asked = []
    fetch = ImageReader.fetch
    monkeypatch.setattr(ImageReader, "fetch", lambda *a: asked.append(a) or fetch(*a))
    for unit in photographs.units(images):
        assert photographs.read(unit) == [None]
    assert len(asked) == 1
    assert photographs.note.startswith("50 photographs could not be read (the first: ")


def test_a_run_of_errors_only_and_an_image_without_segments_still_give_a_report(tmp_path):
    failed = write_report(write_run(tmp_path / "failed", {"a.png": TRUNCATED}))
    head = read_head(Path(failed).parent)
    assert head["notes"] == ["No image has labels."]
    assert head["num_rows"] == 1
    void = {"a.png": Labels(ids=np.zeros((48, 64), np.int32), names=())}
    (picture,) = read_pictures(Path(write_report(write_run(tmp_path / "void", void))).parent)
    assert picture["layers"][0]["segments"] == []


def test_names_from_outside_cannot_end_a_string_or_a_script(tmp_path):
    name, label = "a\"<b>\u2028'é\\.png", "</script>\n"
    run = write_run(tmp_path, {name: halves(label, "sky")}, classes=(label, "sky"))
    folder = Path(write_report(run)).parent
    assert read_column(folder, "names") == [name]
    (picture,) = read_pictures(folder)
    assert picture["layers"][0]["segments"][0][1] == label
    for path in (folder / "data").iterdir():
        assert path.read_bytes().isascii()
        assert path.read_bytes().count(b"\n") == 1


def test_no_file_names_an_external_address_and_the_plotting_library_is_its_packages(run):
    folder = Path(write_report(run)).parent
    library = folder / "viewer" / "plotly.min.js"
    plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
    ours = [path for path in folder.rglob("*.*") if path != library]
    assert len(ours) == 12
    for path in ours:
        assert not re.search(
            r"(?<!data:)//[a-z]|@import|url\(|onclick|innerHTML", path.read_text()
        ), path
    assert library.read_bytes() == plotly.read_bytes()
    assert "default-src 'none'" in (folder / "index.html").read_text()


def test_links_change_with_what_they_lead_to_so_that_no_cache_mixes_two_reports(run):
    def links(max_images: int = 4) -> list[str]:
        page = write_report(run, max_images=max_images)
        return re.findall(r"\?v=(\w+)", Path(page).read_text())

    first = links()
    assert len(set(first)) == 1
    assert links() == first
    assert set(links(max_images=3)).isdisjoint(first)


def test_a_report_in_a_bucket_is_served_as_what_it_is(run, s3_server, tmp_path):
    s3 = fsspec.filesystem("s3", endpoint_url=s3_server)
    s3.makedirs("reports", exist_ok=True)
    assert write_report(run, "s3://reports/one") == "s3://reports/one/index.html"
    local = Path(write_report(run)).parent
    for path in local.rglob("*.*"):
        assert s3.cat(f"reports/one/{path.relative_to(local)}") == path.read_bytes()
    for name, kind in {"index.html": "html", "data/head.js": "javascript"}.items():
        assert kind in s3.info(f"reports/one/{name}")["ContentType"]


def test_a_place_that_cannot_be_written_or_holds_something_else_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another --output"):
        write_report(run, str(tmp_path / "file" / "report"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("my page")
    for taken in (str(tmp_path / "site"), run):
        with pytest.raises(ConfigError, match="holds something else"):
            write_report(run, taken)
    assert (tmp_path / "site" / "index.html").read_text() == "my page"
    with pytest.raises(ConfigError, match="max_images must be at least 1"):
        write_report(run, max_images=0)


def test_every_script_that_the_page_names_is_written_and_calls_are_complete(run):
    folder = Path(write_report(run)).parent
    page = (folder / "index.html").read_text()
    for link in re.findall(r'(?:src|href)="([^"?]+)\?v=', page):
        assert (folder / link).exists(), link
    assert read_call(folder / "data" / "head.js")[0]["num_index_files"] == 1


def test_the_command_says_where_the_page_is(run, tmp_path):
    command = ["report", run, "--output", str(tmp_path / "out"), "--max-images", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"wrote {tmp_path}/out/index.html\n")
    assert len(read_pictures(tmp_path / "out")) == 1


def test_what_people_have_corrected_is_shown_as_they_left_it_and_counted(run):
    folder = RunFolder(run)
    (row,) = read_rows(folder, shard_key(0)).slice(0, 1).to_pylist()
    row["quality"] |= {"grade": "A", "reasons": ["corrected"], "mean_score": 1.0}
    row["segments_info"] = row["segments_info"][:1]
    write_report(run)
    now = datetime.now(UTC)
    row |= {"author": "me", "corrected_at": now, "source": "mine.json"}
    stream = io.BytesIO()
    schema = CORRECTION_SCHEMA.with_metadata({"schema_version": SCHEMA_VERSION})
    pq.write_table(pa.Table.from_pylist([row], schema=schema), stream)
    folder.put_new(correction_key(1, now), stream.getvalue())

    report = Path(write_report(run)).parent
    head = read_head(report)
    assert dict(head["totals"])["Corrected by people"] == "1"
    assert read_column(report, "mean_score")[0] == 1.0
    assert "corrected" in next(f["names"] for f in head["facets"] if f["key"] == "reason")
    assert [len(p["layers"][0]["segments"]) for p in read_pictures(report)] == [2, 2, 2, 1]
