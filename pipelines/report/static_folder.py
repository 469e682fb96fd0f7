"""A folder of static files for a browser, on disk or in a bucket."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from importlib.resources.abc import Traversable
from string import Template
from typing import TYPE_CHECKING

from pipelines.run.folder import plan_key
from pipelines.storage.addresses import is_s3, normalise_location
from pipelines.storage.folder import StoreFolder
from pipelines.storage.store import writing_named
from possam_core.errors import ConfigError

if TYPE_CHECKING:
    from obstore import Attributes

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
START = "index.html"
HEAD = "data/head.js"
PAGES = "data/page-"
PAGE_SIZE = 8  # pictures in a file: about 300 KB
_NUMBERED = re.compile(r"data/(index|page)-\d+\.js")


class StaticFolder:
    """Writes files, and finally removes files of an earlier viewer that were not rewritten."""

    def __init__(self, location: str, *, flag: str = "--output") -> None:
        """Open or create the folder, which `flag` of the command names.

        Raises:
            ConfigError: it cannot be written, or holds a run or another page.
        """
        self.location, self._flag = normalise_location(location), flag
        self._written: set[str] = set()
        self._digest = hashlib.sha256()
        with writing_named(self.location, flag=flag):
            self._folder = StoreFolder(self.location, create=True)
            is_there = self._folder.exists(START)
            if self._folder.exists(plan_key(0)) or (is_there and not self._folder.exists(HEAD)):
                raise ConfigError(
                    f"expected an empty folder or an earlier report at {self.location}, but it"
                    f" holds something else; choose another {flag}"
                )
            if is_there:  # so that the page cannot be opened until it is complete again
                self._folder.remove([START])
            self._stale = {key for key in self._folder.keys("data") if _NUMBERED.fullmatch(key)}

    def put(self, key: str, data: bytes) -> None:
        """Write or replace a file.

        Raises:
            ConfigError: the folder cannot be written.
        """
        # A bucket serves a file with its stored media type; on disk the name decides.
        media_type = MEDIA_TYPES[key.rpartition(".")[2]]
        attributes: Attributes | None = None
        if is_s3(self.location):
            attributes = {"Content-Type": media_type}
        with writing_named(self.location, flag=self._flag):
            self._folder.replace(key, data, attributes=attributes)
        self._written.add(key)
        self._digest.update(data)

    def earlier_pages(self) -> Iterator[bytes]:
        """The pages of pictures that an earlier viewer has left, until they are rewritten.

        Raises:
            ConfigError: the folder cannot be read.
        """
        for key in sorted(key for key in self._stale if key.startswith(PAGES)):
            with writing_named(self.location, flag=self._flag):
                if (data := self._folder.read(key)) is not None:
                    yield data

    def put_scripts(self, *files: Traversable) -> None:
        """Write scripts and styles, and the library that draws charts.

        Raises:
            ConfigError: the folder cannot be written.
        """
        plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
        for file in (*files, plotly):
            self.put(f"viewer/{file.name}", file.read_bytes())

    @property
    def version(self) -> str:
        """Changes with the content of the files so far; links end with it."""
        return self._digest.hexdigest()[:16]

    def finish(self, template: Traversable, *, title: str, **parts: str) -> str:
        """Write the page to open, and delete what is left of an earlier one; return its address.

        It is written last, so that it never links to missing files.

        Args:
            template: the page, with `$head`, `$title`, `$version` and a name for each of `parts`.
            title: of the page, as text.
            parts: as HTML.

        Raises:
            ConfigError: the folder cannot be written.
        """
        fields = {"title": escape(title), "version": self.version, **parts}
        shared_head = resources.files(__package__) / "static" / "head.html"
        fields["head"] = _filled(shared_head, fields).rstrip()
        self.put(START, _filled(template, fields).encode())
        self._folder.remove(sorted(self._stale - self._written))
        return f"{self.location}/{START}"


def _filled(template: Traversable, fields: Mapping[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(fields)


def page_key(number: int) -> str:
    """The key of a file of pictures."""
    return f"{PAGES}{number:05d}.js"


def script_json(content: object) -> bytes:
    """JSON in ASCII, so that no character of a name can end a JavaScript line or string."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
