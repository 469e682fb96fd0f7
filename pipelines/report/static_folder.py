"""A folder of static files for a browser, on disk or in a bucket."""

import re
from itertools import chain

import obstore

from pipelines.run.folder import plan_key
from pipelines.storage.addresses import is_s3, normalise_location
from pipelines.storage.store import STORE_ERRORS, open_store, patiently
from possam_core.errors import ConfigError

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
START = "index.html"
HEAD = "data/head.js"
_NUMBERED = re.compile(r"data/(index|page)-\d+\.js")


class StaticFolder:
    """Writes files, and in the end removes what an earlier viewer in the same place had more."""

    def __init__(self, location: str) -> None:
        """Open or make the folder.

        Raises:
            ConfigError: it cannot be written, or holds a run or another page.
        """
        self.location = normalise_location(location)
        self._written: set[str] = set()
        try:
            self._store = open_store(self.location, create=True)
            is_there = self._exists(START)
            if self._exists(plan_key(0)) or (is_there and not self._exists(HEAD)):
                raise ConfigError(
                    f"expected an empty folder or an earlier report at {self.location}, but it"
                    " holds something else; choose another --output"
                )
            if is_there:  # not to be opened until all is there again
                obstore.delete(self._store, START)
            found = chain.from_iterable(obstore.list(self._store, "data"))
            self._stale = {e["path"] for e in found if _NUMBERED.fullmatch(e["path"])}
        except STORE_ERRORS as error:
            raise self._unwritable(error) from error

    def put(self, key: str, data: bytes) -> None:
        """Write a file, whatever was there.

        Raises:
            ConfigError: the folder cannot be written.
        """
        # A bucket serves a file as what it was said to be; a disk goes by the name.
        media_type = MEDIA_TYPES[key.rpartition(".")[2]]
        attributes = {"Content-Type": media_type} if is_s3(self.location) else None
        try:
            patiently(
                lambda: obstore.put(
                    self._store, key, data, attributes=attributes, use_multipart=False
                )
            )
        except STORE_ERRORS as error:
            raise self._unwritable(error) from error
        self._written.add(key)

    def remove_stale(self) -> None:
        """Delete the numbered files of an earlier viewer that this one has not written."""
        if stale := sorted(self._stale - self._written):
            patiently(lambda: obstore.delete(self._store, stale))

    def _exists(self, key: str) -> bool:
        try:
            patiently(lambda: obstore.head(self._store, key))
        except FileNotFoundError:
            return False
        return True

    def _unwritable(self, error: Exception) -> ConfigError:
        reason = str(error).partition("\n")[0]
        return ConfigError(
            f"expected a place to write files at {self.location}, but writing failed ({reason});"
            " choose another --output"
        )
