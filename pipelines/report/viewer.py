"""The viewer: static files that list any number of images and load their pictures on scrolling.

The index, some hundred bytes an image, is loaded whole, in columns. A file, called a page, holds a
few pictures, so that a bucket has few objects and a page that scrolls into view loads fast. All
data is JavaScript that calls a function, because an HTML page opened from disk may not fetch.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any, Literal

from pipelines.report.static_folder import (
    HEAD,
    PAGE_SIZE,
    START,
    StaticFolder,
    page_key,
    script_json,
)

PAGE_CALL = b"possam.page("
INDEX_ROWS = 8192  # at least so many in a file of the index: about 1 MB
OWN = resources.files(__package__) / "static"
STYLE_AND_SCRIPTS = (
    "viewer.css",
    "columns.js",
    "pictures.js",
    "filters.js",
    "charts.js",
    "grid.js",
    "detail.js",
    "viewer.js",
)


Kind = Literal["share", "count", "percent"]  # in [0, 1]; whole; in [0, 100]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number of each image, to sort by, plot and filter."""

    key: str
    label: str
    kind: Kind = "share"
    if_missing: str = ""  # shown for a labelled image without it; "": it is not shown then


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """A column of names; an image may have any number of them."""

    key: str
    label: str
    names: Sequence[str]
    is_ordered: bool = False  # listed in this order; else the most frequent first


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValues:
    """The names of some rows, as positions in `Facet.names`."""

    counts: Sequence[int]  # how many each row has
    values: Sequence[int]  # of all rows


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBlock:
    """Some rows of the index; a measure is None where a row has none."""

    names: Sequence[str]
    measures: Mapping[str, Sequence[float | None]]
    facets: Mapping[str, FacetValues]
    # By position in the block: the text in each panel of a picture.
    messages: Mapping[int, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A sort order: by these columns, each ascending (1) or descending (-1)."""

    label: str
    by: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSummary:
    """An error code, how many images have it, and some of them."""

    code: str
    count: int
    samples: Sequence[tuple[str, str]]  # name and message


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryTable:
    """A table above the images."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The content of the viewer's head, and the description of the index's columns."""

    title: str
    subtitle: str
    base: str  # the address that the names of images are relative to
    measures: Sequence[Measure]
    facets: Sequence[Facet]  # that of key "picture", if any, is filled from `picture_kinds`
    orders: Sequence[Order]
    charts: Sequence[str]  # measures plotted initially
    badges: Sequence[str]  # facets on a card
    facts: Sequence[tuple[str, str]]  # measures on a card, with a phrase that has {} for the number
    chips: str = ""  # facet on a card, in place of the legend
    panels: Sequence[str] = ("",)  # titles of the layers of a picture
    totals: Sequence[tuple[str, str]] = ()
    bar: Sequence[tuple[str, int]] = ()
    notes: Sequence[str] = ()
    tables: Sequence[SummaryTable] = ()
    errors: Sequence[ErrorSummary] = ()
    provenance: Sequence[tuple[str, str]] = ()
    pictures: Sequence[int] = ()  # the row of each picture, in the order of the pages
    picture_kinds: Sequence[int] = ()  # of each picture: position in the names of that facet


class ViewerWriter:
    """Writes a viewer: any number of rows, then pictures in any order, then `finish`."""

    def __init__(self, location: str) -> None:
        """Open or create the folder.

        Raises:
            ConfigError: it cannot be written, or holds a run or another page.
        """
        self._folder = StaticFolder(location)
        self._blocks: list[RowBlock] = []
        self._num_index_files = 0
        self.num_rows = 0
        # Pictures come shard by shard and are shown worst first; on disk they cost no memory.
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `finish`
        self._spans: dict[int, tuple[int, int]] = {}  # place -> begin and end in the spool

    def add_rows(self, block: RowBlock) -> None:
        """Append rows to the index."""
        self._blocks.append(block)
        self.num_rows += len(block.names)
        if sum(len(waiting.names) for waiting in self._blocks) >= INDEX_ROWS:
            self._write_index()

    def add_picture(self, place: int, picture: Mapping[str, Any]) -> None:
        """Keep the picture that `Head.pictures` lists at `place`.

        If it has a photograph and a text "mark", `take_over` knows it again.
        """
        self._keep(place, script_json(picture))

    def take_over(self, places: Mapping[str, int]) -> set[int]:
        """Keep the pictures of an earlier viewer here that have one of these marks.

        Args:
            places: of each mark.

        Returns:
            The places that need no other picture.
        """
        taken = set()
        for page in self._folder.earlier_pages():
            for picture, text in pictures_in(page):
                place = places.get(picture.get("mark", ""))
                if place is not None and picture.get("photo"):
                    self._keep(place, text)
                    taken.add(place)
        return taken

    def _keep(self, place: int, text: bytes) -> None:
        begin = self._spool.tell()
        self._spool.write(text)
        self._spans[place] = (begin, self._spool.tell())

    def finish(self, head: Head) -> str:
        """Write the remaining files; return the address of the page to open."""
        if self._blocks:
            self._write_index()
        for number, page in enumerate(self._pages(len(head.pictures))):
            self._folder.put(page_key(number), b"%s%d,[%s]);\n" % (PAGE_CALL, number, page))
        self._spool.close()
        content = asdict(head) | {
            "num_rows": self.num_rows,
            "num_index_files": self._num_index_files,
            "page_size": PAGE_SIZE,
        }
        self._folder.put(HEAD, b"possam.head(%s);\n" % script_json(content))
        self._folder.put_scripts(*(OWN / name for name in STYLE_AND_SCRIPTS))
        return self._folder.finish(OWN / START, title=head.title)

    def _write_index(self) -> None:
        blocks = [_plain(block) for block in self._blocks]
        name = f"data/index-{self._num_index_files:05d}.js"
        self._folder.put(name, b"possam.rows(%s);\n" % script_json(blocks))
        self._num_index_files += 1
        self._blocks.clear()

    def _pages(self, num_pictures: int) -> Iterator[bytes]:
        for first in range(0, num_pictures, PAGE_SIZE):
            page = []
            for place in range(first, min(first + PAGE_SIZE, num_pictures)):
                begin, end = self._spans.get(place, (0, 0))
                self._spool.seek(begin)
                page.append(self._spool.read(end - begin) or b"null")
            yield b",".join(page)


def pictures_in(page: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The pictures of a page, each with its own text; those before the first damage."""
    text = page.decode("ascii", "replace")
    start = text.find("[") + 1
    if not text.startswith(PAGE_CALL.decode()) or not start:
        return
    while text[start : start + 1] == "{":
        try:
            picture, end = json.JSONDecoder().raw_decode(text, start)
        except json.JSONDecodeError:
            return
        yield picture, text[start:end].encode("ascii")
        start = end + 1  # after the comma


def _plain(block: RowBlock) -> dict[str, Any]:
    """As `asdict`, which would copy every number by itself."""
    facets = {
        key: {"counts": facet.counts, "values": facet.values} for key, facet in block.facets.items()
    }
    return {
        "names": block.names,
        "measures": block.measures,
        "facets": facets,
        "messages": block.messages,
    }
